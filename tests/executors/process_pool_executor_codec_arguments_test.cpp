#include <sys/resource.h>
#include <unistd.h>

#include <cofork/ipc/descriptor.hpp>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/wait.hpp>
#include <csignal>
#include <cstdint>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <ranges>
#include <span>
#include <string_view>
#include <vector>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Task;
using cofork::ipc::Descriptor;

namespace {

double total(std::span<const double> numbers) { return std::accumulate(numbers.begin(), numbers.end(), 0.0); }
struct alignas(64) Block {
  double first;
};
double total_of_blocks(std::string_view, std::span<const Block> blocks, int index) {
  if (index == 11) ::raise(SIGKILL);
  if (reinterpret_cast<std::uintptr_t>(blocks.data()) % 64 != 0) throw std::logic_error("not aligned");
  double sum = 0;
  for (const Block& block : blocks) sum += block.first;
  return sum;
}
std::size_t length(std::string_view text) { return text.size(); }
std::vector<double> doubled(std::vector<double> numbers) {
  for (double& number : numbers) number *= 2;
  return numbers;
}
std::string repeat(char letter, std::size_t times) { return std::string(times, letter); }

struct Shape {
  std::string name;
  std::vector<std::pair<int, std::optional<double>>> points;
  std::map<std::string, int> tags;
  bool operator==(const Shape&) const = default;
};

std::string read_all(Descriptor descriptor) {
  std::string text(64, '\0');
  const ssize_t count = ::read(descriptor.get(), text.data(), text.size());
  text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  return text;
}

// A descriptor from which `text` can be read.
Descriptor file_with(const std::string& text) {
  int ends[2];
  if (::pipe(ends) != 0) throw std::runtime_error("pipe");
  const Descriptor write_end(ends[1]);
  if (::write(write_end.get(), text.data(), text.size()) < 0) throw std::runtime_error("write");
  return Descriptor(ends[0]);
}

}  // namespace

TEST_CASE("spans and string views are read in place, wherever their contents come from") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    std::vector<double> numbers(1000);
    std::iota(numbers.begin(), numbers.end(), 0.0);
    for (const bool queued : {false, true}) {
      INFO("queued " << queued);
      shared[0] = shared[1] = 0;
      auto gate = pool.submit(wait_at_gate, 1, 0);
      if (!queued) {
        shared[0] = 1;
        co_await gate;
      }
      std::vector<Future<double>> sums;
      sums.push_back(pool.submit(total, numbers));
      sums.push_back(pool.submit(total, std::vector<double>(numbers)));
      sums.push_back(pool.submit(total, std::span(numbers)));
      sums.push_back(pool.submit(total, std::span<const double>(numbers)));
      {
        // The contents may go when submit returns.
        std::vector<double> gone(numbers);
        sums.push_back(pool.submit(total, std::span(gone)));
        std::fill(gone.begin(), gone.end(), -1.0);
      }
      std::vector<Future<std::size_t>> lengths;
      const std::string text = "a text that is too long to be stored inside of a string object";
      lengths.push_back(pool.submit(length, text));
      lengths.push_back(pool.submit(length, std::string(text)));
      lengths.push_back(pool.submit(length, std::string_view(text)));
      lengths.push_back(pool.submit(length, "literal"));
      shared[0] = 1;
      const std::vector<double> all = co_await cofork::gather(std::move(sums));
      for (const double sum : all) CHECK(sum == 499'500);
      const std::vector<std::size_t> sizes = co_await cofork::gather(std::move(lengths));
      CHECK(sizes == std::vector<std::size_t>{text.size(), text.size(), text.size(), 7});
    }
    const std::vector<std::vector<double>> rows(50, numbers);
    const std::vector<double> sums = co_await pool.map({.chunksize = 7}, total, rows);
    CHECK(sums == std::vector<double>(50, 499'500));
  });
}

TEST_CASE("over-aligned elements lie aligned in place, also in chunks that are moved") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    const std::vector<Block> blocks(3, Block{2.5});
    const double sum = co_await pool.submit(total_of_blocks, "odd", blocks, 0);
    CHECK(sum == 7.5);
    for (const std::size_t chunksize : {1, 7, 40}) {
      const std::vector<std::string> padding{"", "a", "bcd"};
      auto texts = std::views::iota(0, 40) | std::views::transform([&](int i) { return padding[std::size_t(i) % 3]; });
      const std::vector<std::vector<Block>> all(40, blocks);
      auto stream = pool.map({.chunksize = chunksize, .retries = 0}, total_of_blocks, texts, all, std::views::iota(0));
      for (int i = 0; i < 40; ++i) {
        double value = -1;
        try {
          const std::optional<double> next = co_await stream.next();
          value = next.value_or(-2);
        } catch (const cofork::WorkerDied&) {
        }
        if (value != (i == 11 ? -1 : 7.5)) FAIL(value << " at " << i);
      }
    }
  });
}

TEST_CASE("messages of every size around the limits of ring and arena arrive whole") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    std::vector<Future<std::vector<double>>> futures;
    std::vector<std::size_t> sizes;
    for (const std::size_t bytes : {1024, 32 * 1024, 64 * 1024, 256 * 1024, 512 * 1024, 1024 * 1024, 5'000'000})
      for (const int offset : {-64, -8, 0, 8, 64}) sizes.push_back((bytes + static_cast<std::size_t>(offset)) / 8);
    for (int round = 0; round < 3; ++round) {
      for (const std::size_t size : sizes) futures.push_back(pool.submit(doubled, std::vector<double>(size, 1.5)));
      co_await cofork::wait(futures);
      for (std::size_t i = 0; i < sizes.size(); ++i) CHECK(futures[i].result() == std::vector<double>(sizes[i], 3.0));
      futures.clear();
    }
    const std::string large = co_await pool.submit(repeat, 'x', 30'000'000);
    CHECK(large.size() == 30'000'000);
    auto big =
        pool.map(repeat, std::vector<char>(40, 'y'),
                 std::views::iota(std::size_t{0}) | std::views::transform([](std::size_t i) { return i * 40'000; }));
    for (std::size_t i = 0; i < 40; ++i) {
      const std::optional<std::string> text = co_await big.next();
      REQUIRE(text);
      CHECK(*text == std::string(i * 40'000, 'y'));
    }
  });
}

TEST_CASE("large results that nobody takes do not stop the pool for others") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    std::vector<Future<std::string>> futures;
    for (int i = 0; i < 300; ++i) futures.push_back(pool.submit(repeat, 'z', 10'000));
    co_await pool.shutdown();
    int wrong = 0;
    for (auto& future : futures) wrong += future.result().size() != 10'000;
    CHECK(wrong == 0);
  });
}

TEST_CASE("aggregates and move-only values travel, sent at once and from the queue") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const Shape shape{"s", {{1, 2.5}, {2, std::nullopt}}, {{"a", 1}}};
    const auto same = [](Shape s) { return s; };
    const auto unwrap = [](std::unique_ptr<int> number) { return std::make_unique<int>(*number + 1); };
    std::vector<Future<Shape>> shapes;
    std::vector<Future<std::unique_ptr<int>>> numbers;
    for (int i = 0; i < 5; ++i) {
      shapes.push_back(pool.submit(same, shape));
      numbers.push_back(pool.submit(unwrap, std::make_unique<int>(i)));
    }
    for (int i = 0; i < 5; ++i) {
      const Shape back = co_await std::move(shapes[static_cast<std::size_t>(i)]);
      CHECK(back == shape);
      const std::unique_ptr<int> number = co_await std::move(numbers[static_cast<std::size_t>(i)]);
      CHECK(*number == i + 1);
    }
    auto made = std::views::iota(0, 100) | std::views::transform([](int i) { return std::make_unique<int>(i); });
    auto stream = pool.map({.chunksize = 9}, unwrap, made);
    for (int i = 0; i < 100; ++i) {
      std::optional<std::unique_ptr<int>> number = co_await stream.next();
      if (!number || **number != i + 1) FAIL("wrong at " << i);
    }
  });
}

TEST_CASE("descriptors travel as arguments and results") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    const std::string text = co_await pool.submit(read_all, file_with("through a pipe"));
    CHECK(text == "through a pipe");
    const auto make = [](std::string contents) { return file_with(contents); };
    Descriptor made = co_await pool.submit(make, "made there");
    const std::string back = read_all(std::move(made));
    CHECK(back == "made there");
  });
}

TEST_CASE("each item of a chunk gets its own descriptors, also when it is moved to another worker") {
  Shared shared;
  for (const std::size_t chunksize : {1, 4, 40}) {
    cofork::run([&]() -> Task<> {
      ProcessPoolExecutor pool(2);
      const auto read_or_die = [](int index, Descriptor descriptor) {
        if (index == 5) ::raise(SIGKILL);
        if (index == 7) throw std::runtime_error("leaves its descriptor");
        return read_all(std::move(descriptor));
      };
      auto files = std::views::iota(0, 40) | std::views::transform([](int i) { return file_with(std::to_string(i)); });
      auto stream = pool.map({.chunksize = chunksize}, read_or_die, std::views::iota(0, 40), files);
      for (int i = 0; i < 40; ++i) {
        std::string outcome;
        try {
          const std::optional<std::string> text = co_await stream.next();
          outcome = text.value_or("end");
        } catch (const cofork::WorkerDied&) {
          outcome = "died";
        } catch (const std::runtime_error&) {
          outcome = "threw";
        }
        const std::string expected = i == 5 ? "died" : i == 7 ? "threw" : std::to_string(i);
        if (outcome != expected) FAIL(outcome << " at " << i);
      }
    });
  }
}

TEST_CASE("items of a chunk whose descriptors find no room in the worker fail, the others do not") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    co_await pool.submit([] {
      const Descriptor first = Descriptor::duplicate(0), second = Descriptor::duplicate(0);
      rlimit limit = {};
      ::getrlimit(RLIMIT_NOFILE, &limit);
      limit.rlim_cur = static_cast<rlim_t>(second.get()) + 1;
      ::setrlimit(RLIMIT_NOFILE, &limit);
    });
    const auto read = [](Descriptor descriptor) { return read_all(std::move(descriptor)); };
    auto files = std::views::iota(0, 6) | std::views::transform([](int i) { return file_with(std::to_string(i)); });
    auto stream = pool.map({.chunksize = 6}, read, files);
    for (int i = 0; i < 6; ++i) {
      std::string outcome;
      try {
        const std::optional<std::string> text = co_await stream.next();
        outcome = text.value_or("end");
      } catch (const cofork::DecodeError&) {
        outcome = "missing";
      }
      CHECK(outcome == (i < 2 ? std::to_string(i) : "missing"));
    }
  });
}

TEST_CASE("more tasks with descriptors than a socket holds wait for their turn") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto number_of = [](Descriptor descriptor) { return descriptor.valid(); };
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const Descriptor read_end(ends[0]), write_end(ends[1]);
    for (int i = 0; i < 20; ++i) co_await pool.submit(number_of, Descriptor::duplicate(read_end.get()));
    // Known as fast now: as many as possible are sent ahead.
    std::vector<Future<bool>> futures;
    for (int i = 0; i < 500; ++i) futures.push_back(pool.submit(number_of, Descriptor::duplicate(read_end.get())));
    const std::vector<bool> all = co_await cofork::gather(std::move(futures));
    CHECK(std::count(all.begin(), all.end(), true) == 500);
  });
}
