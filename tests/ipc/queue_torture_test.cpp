// Producers and consumers are killed at random. COFORK_TORTURE=60 runs each of these for 60 seconds.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cofork/ipc/queue.hpp>
#include <cofork/runtime/run.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace cofork;
using namespace std::chrono_literals;

namespace {

std::chrono::milliseconds duration() {
  const char* seconds = std::getenv("COFORK_TORTURE");
  return seconds ? std::chrono::seconds(std::atoi(seconds)) : std::chrono::milliseconds(3000);
}

class Random {
 public:
  Random() {
    const char* given = std::getenv("COFORK_TORTURE_SEED");
    const auto seed = given ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
    std::printf("seed %u\n", seed);
    engine_.seed(seed);
  }
  unsigned below(unsigned n) { return std::uniform_int_distribution<unsigned>(0, n - 1)(engine_); }

 private:
  std::mt19937 engine_;
};

/// Memory that children share with the test, zeroed, apart from what is tested.
template <class T>
class Ledger {
 public:
  explicit Ledger(std::size_t n)
      : bytes_(n * sizeof(T)),
        data_(static_cast<T*>(
            ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {}
  Ledger(const Ledger&) = delete;
  ~Ledger() { ::munmap(data_, bytes_); }
  T& operator[](std::size_t i) { return data_[i]; }

 private:
  std::size_t bytes_;
  T* data_;
};

template <class F>
pid_t fork_child(F body) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  try {
    body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "child: %s\n", error.what());
    ::_exit(1);
  }
  ::_exit(0);
}

/// The wait status.
int reap(pid_t pid) {
  int status = 0;
  ::waitpid(pid, &status, 0);
  return status;
}

bool was_killed(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL; }

struct Message {
  std::uint32_t producer;
  std::uint32_t number;
  std::vector<std::uint8_t> load;  // of `number` % 50 bytes, or many more, all of the value `number`
};

constexpr std::uint32_t most_producers = 20'000;
constexpr std::uint32_t most_messages = 1 << 16;  // of each producer

std::size_t load_of(std::uint32_t number) { return number % 997 == 0 ? 200'000 : number % 50; }

struct QueueLedger {
  Ledger<std::atomic<std::uint32_t>> put{most_producers};  // how many puts returned
  Ledger<std::atomic<std::uint8_t>> taken{std::size_t{most_producers} * most_messages};
  Ledger<std::atomic<std::uint32_t>> failures{1};
};

void produce(const ipc::Queue<Message>& queue, QueueLedger& ledger, std::uint32_t producer, bool with_loop) {
  const auto put_all = [&](auto&& put_one) {
    for (std::uint32_t number = 0; number < most_messages; ++number)
      put_one(Message{producer, number, std::vector<std::uint8_t>(load_of(number), static_cast<std::uint8_t>(number))});
  };
  if (!with_loop) {
    put_all([&](Message message) {
      const std::uint32_t number = message.number;
      queue.blocking_put(std::move(message));
      ledger.put[producer] = number + 1;
    });
    return;
  }
  run([&]() -> Task<> {
    for (std::uint32_t number = 0; number < most_messages; ++number) {
      Message message{producer, number, std::vector<std::uint8_t>(load_of(number), static_cast<std::uint8_t>(number))};
      co_await queue.put(std::move(message));
      ledger.put[producer] = number + 1;
    }
  });
}

void consume(const ipc::Queue<Message>& queue, QueueLedger& ledger) {
  std::vector<std::uint32_t> last(most_producers, 0);
  for (;;) {
    const Message message = queue.blocking_get();
    bool good = message.producer < most_producers && message.number < most_messages &&
                message.load.size() == load_of(message.number) && last[message.producer] <= message.number;
    for (const std::uint8_t byte : message.load) good = good && byte == static_cast<std::uint8_t>(message.number);
    if (!good) ledger.failures[0].fetch_add(1);
    if (message.producer >= most_producers || message.number >= most_messages) continue;
    last[message.producer] = message.number + 1;
    ledger.taken[std::size_t{message.producer} * most_messages + message.number].fetch_add(1);
  }
}

void torture_queue(std::size_t maxsize) {
  Random random;
  const ipc::Queue<Message> queue(maxsize);
  QueueLedger ledger;
  std::uint32_t producers = 0;
  const auto start_producer = [&] {
    const std::uint32_t number = producers++;
    const bool with_loop = random.below(2) == 0;
    return fork_child([&] { produce(queue, ledger, number, with_loop); });
  };
  const auto start_consumer = [&] { return fork_child([&] { consume(queue, ledger); }); };

  std::array<pid_t, 3> producing, consuming;
  for (pid_t& pid : producing) pid = start_producer();
  for (pid_t& pid : consuming) pid = start_consumer();
  unsigned consumers_killed = 0;
  bool unexpected_end = false;
  const auto stop = [&](pid_t pid) {
    ::kill(pid, SIGKILL);
    return reap(pid);
  };
  const auto put_so_far = [&] {
    std::uint64_t sum = 0;
    for (std::uint32_t producer = 0; producer < producers; ++producer) sum += ledger.put[producer];
    return sum;
  };
  const auto end = std::chrono::steady_clock::now() + duration();
  while ((std::chrono::steady_clock::now() < end || put_so_far() <= 1000) && producers < most_producers) {
    ::usleep(200 + random.below(3000));
    const unsigned victim = random.below(6);
    if (victim < 3) {
      const int status = stop(producing[victim]);
      unexpected_end |= !was_killed(status) && status != 0;
      producing[victim] = start_producer();
    } else {
      unexpected_end |= !was_killed(stop(consuming[victim - 3]));
      ++consumers_killed;
      consuming[victim - 3] = start_consumer();
    }
  }
  CHECK_FALSE(unexpected_end);
  for (const pid_t pid : producing) stop(pid);
  CHECK(support::eventually([&] { return queue.empty(); }, 100s));
  // Whoever has taken the last messages has noted them once it waits again.
  const auto noted = [&] {
    std::uint64_t sum = 0;
    for (std::uint32_t producer = 0; producer < producers; ++producer)
      for (std::uint32_t number = 0; number < std::min(ledger.put[producer] + 1, most_messages); ++number)
        sum += ledger.taken[std::size_t{producer} * most_messages + number];
    return sum;
  };
  for (std::uint64_t before = 0, now = noted(); before != now; now = noted()) {
    before = now;
    ::usleep(20'000);
  }
  for (const pid_t pid : consuming) {
    stop(pid);
    ++consumers_killed;
  }

  std::uint64_t put = 0, lost = 0, doubled = 0;
  for (std::uint32_t producer = 0; producer < producers; ++producer) {
    const std::uint32_t completed = ledger.put[producer];
    put += completed;
    for (std::uint32_t number = 0; number < std::min(completed + 1, most_messages); ++number) {
      const unsigned taken = ledger.taken[std::size_t{producer} * most_messages + number];
      if (taken == 0 && number < completed) ++lost;
      if (taken > 1) ++doubled;
    }
  }
  std::printf("%llu messages, %u producers, %u consumers killed, %llu messages died with their consumers\n",
              static_cast<unsigned long long>(put), producers, consumers_killed, static_cast<unsigned long long>(lost));
  CHECK(put > 1000);
  CHECK(lost <= consumers_killed);
  CHECK(doubled == 0);
  CHECK(ledger.failures[0] == 0);
}

}  // namespace

TEST_CASE("no message of a survivor is lost, doubled or damaged while producers and consumers are killed",
          "[limit:180]") {
  torture_queue(0);
}

TEST_CASE("no message of a survivor is lost, doubled or damaged in a small queue while its users are killed",
          "[limit:180]") {
  torture_queue(3);
}
