// How a process gets its arguments: by position, as a struct with defaults where Python has keyword arguments, and by
// capture. Each child has copies: what it changes is its own.
#include <chrono>
#include <cofork/cofork.hpp>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

using namespace std::chrono_literals;

void by_position(int id, const std::string& text, std::vector<double> values) {
  std::printf("%d, %s, %zu values\n", id, text.c_str(), values.size());
}

struct DownloadOptions {
  std::string url;
  int retries = 3;
  std::chrono::seconds timeout = 30s;
  bool verify = true;
};

void download(const DownloadOptions& options) {
  std::printf("%s, %d retries, %lld s, verify %d\n", options.url.c_str(), options.retries,
              static_cast<long long>(options.timeout.count()), options.verify);
}

struct Account {
  int balance;
  void deposit(int amount) {
    balance += amount;
    std::printf("balance in the child: %d\n", balance);
  }
};

void run(cofork::Process process) {
  process.start();
  process.blocking_join();
}

int main() {
  run(cofork::Process(by_position, 1, "one", std::vector{1.0, 2.5}));

  run(cofork::Process(download, DownloadOptions{.url = "https://example.org", .timeout = 5s}));

  const std::string name = "captured";
  auto owned = std::make_unique<int>(42);
  run(cofork::Process([name, owned = std::move(owned)] { std::printf("%s, %d\n", name.c_str(), *owned); }));

  Account account{100};
  run(cofork::Process(&Account::deposit, std::ref(account), 20));
  std::printf("balance in the parent: %d\n", account.balance);

  run(cofork::Process(
      [](std::chrono::milliseconds pause) -> cofork::Task<> {
        co_await cofork::sleep(pause);
        std::printf("a coroutine, after a pause\n");
      },
      5ms));
}
