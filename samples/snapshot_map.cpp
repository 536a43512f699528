// A big graph in memory, searched from many places at once, by children that are copies of this process: nothing of the
// graph is serialised or copied, and the search may be as careless with memory as it likes.
#include <cofork/cofork.hpp>
#include <cstdio>
#include <ranges>
#include <vector>

/// Places with streets between them. It could hold pointers, maps, whatever: no codec is needed.
struct City {
  std::vector<std::vector<int>> streets;

  explicit City(int places) : streets(static_cast<std::size_t>(places)) {
    unsigned random = 1;
    for (int place = 1; place < places; ++place) {
      random = random * 1664525 + 1013904223;
      connect(place, static_cast<int>(random % static_cast<unsigned>(place)));
    }
  }
  void connect(int a, int b) {
    streets[static_cast<std::size_t>(a)].push_back(b);
    streets[static_cast<std::size_t>(b)].push_back(a);
  }
};

/// How far away the place is that is the farthest from `start`.
int farthest(const City& city, int start) {
  std::vector<int> distance(city.streets.size(), -1), front{start};
  distance[static_cast<std::size_t>(start)] = 0;
  int steps = 0;
  while (true) {
    std::vector<int> next;
    for (int place : front)
      for (int neighbour : city.streets[static_cast<std::size_t>(place)])
        if (int& found = distance[static_cast<std::size_t>(neighbour)]; found < 0) {
          found = steps + 1;
          next.push_back(neighbour);
        }
    if (next.empty()) return steps;
    front = std::move(next);
    ++steps;
  }
}

cofork::Task<> survey() {
  City city(200'000);
  cofork::ForkExecutor executor;

  int centre = -1, radius = 1 << 30, diameter = 0;
  auto distances = executor.map([&](int start) { return farthest(city, start); }, std::views::iota(0, 40));
  for (int start = 0; auto distance = co_await distances.next(); ++start) {
    if (*distance < radius) radius = *distance, centre = start;
    if (*distance > diameter) diameter = *distance;
  }
  std::printf("of the first 40 places, %d is the most central: %d steps to the farthest\n", centre, radius);
  std::printf("the most remote of them needs %d\n", diameter);

  // What a child does to its copy stays there.
  int bridged = co_await cofork::fork_call([&] {
    for (int place = 1; place < 1000; ++place) city.connect(centre, place * 200);
    return farthest(city, centre);
  });
  std::printf("with a thousand bridges it would be %d, and without them it still is %d\n", bridged,
              farthest(city, centre));
}

int main() { cofork::run(survey()); }
