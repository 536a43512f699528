#include <sys/eventfd.h>
#include <sys/syscall.h>

#include <algorithm>
#include <chrono>
#include <cofork/ipc/pipe.hpp>
#include <cofork/ipc/wait.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "ipc/connection_harness.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace connection_test;
using namespace std::chrono_literals;

namespace {

using Numbers = ipc::Connection<int>;
using Indices = std::vector<std::size_t>;
using Clock = std::chrono::steady_clock;

int pidfd_of(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

Task<int> sum_over_all(std::vector<Numbers> readers) {
  int sum = 0;
  while (!readers.empty()) {
    std::vector<ipc::Waitable> waitables(readers.begin(), readers.end());
    Indices ready = co_await ipc::wait(std::move(waitables));
    std::reverse(ready.begin(), ready.end());
    for (const std::size_t index : ready) {
      const auto value = co_await readers[index].next();
      if (value)
        sum += *value;
      else
        readers.erase(readers.begin() + static_cast<std::ptrdiff_t>(index));
    }
  }
  co_return sum;
}

}  // namespace

TEST_CASE("messages of four children are taken from whichever is ready, until all have ended") {
  for (const bool blocking : {false, true}) {
    std::vector<Numbers> readers;
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < 4; ++i) {
      auto [reader, writer] = ipc::pipe<int>({.duplex = false});
      children.push_back(std::make_unique<Child>([writer] {
        for (int number = 0; number < 10; ++number) writer.blocking_send(number);
      }));
      readers.push_back(reader);
    }
    if (!blocking) {
      CHECK(run(sum_over_all(readers)) == 180);
      continue;
    }
    int sum = 0;
    while (!readers.empty()) {
      Indices ready = ipc::blocking_wait({readers.begin(), readers.end()});
      CHECK_FALSE(ready.empty());
      std::reverse(ready.begin(), ready.end());
      for (const std::size_t index : ready) {
        try {
          sum += readers[index].blocking_recv();
        } catch (const EndOfFile&) {
          readers.erase(readers.begin() + static_cast<std::ptrdiff_t>(index));
        }
      }
    }
    CHECK(sum == 180);
  }
}

TEST_CASE("what is waited for may be given one after the other, with a timeout at the end") {
  auto [a, b] = ipc::pipe<int>();
  auto [c, d] = ipc::pipe<std::string>();
  std::vector<ipc::Connection<int>> more;
  for (int i = 0; i < 2; ++i) more.push_back(ipc::pipe<int>().first);
  CHECK(ipc::blocking_wait(a, c, 5ms).empty());
  d.blocking_send("text");
  CHECK(ipc::blocking_wait(a, c) == Indices{1});
  CHECK(ipc::blocking_wait(c) == Indices{0});
  CHECK(ipc::blocking_wait(a, c.native_handle(), std::optional<std::chrono::nanoseconds>(30s)) == Indices{1});
  // The other ends of these are closed.
  CHECK(ipc::blocking_wait(a, more, c, 30s) == Indices{1, 2, 3});
  CHECK(ipc::blocking_wait(more) == Indices{0, 1});
  b.blocking_send(1);
  const auto main = [a_ = &a, c_ = &c]() -> Task<Indices> { co_return co_await ipc::wait(*a_, *c_, 30s); };
  CHECK(run(main) == Indices{0, 1});
}

TEST_CASE("a timeout gives nothing, a negative one at once") {
  auto [a, b] = ipc::pipe<int>();
  auto start = Clock::now();
  CHECK(ipc::blocking_wait({a, b}, 50ms).empty());
  CHECK(Clock::now() - start >= 50ms);
  CHECK(ipc::blocking_wait({a, b}, -1s).empty());
  const auto main = [a_ = &a, b_ = &b]() -> Task<bool> {
    const std::vector<ipc::Waitable> both = {*a_, *b_};
    const auto begin = Clock::now();
    const Indices none = co_await ipc::wait(both, 50ms);
    const bool late = Clock::now() - begin >= 50ms;
    const Indices none_at_once = co_await ipc::wait(both, -1s);
    co_return none.empty() && none_at_once.empty() && late;
  };
  CHECK(run(main));
  b.blocking_send(1);
  CHECK(ipc::blocking_wait({a, b}, 30s) == Indices{0});
  CHECK(ipc::blocking_wait({b, a}) == Indices{1});
}

TEST_CASE("connections, sentinels and other descriptors are waited for together") {
  auto [a, b] = ipc::pipe<int>();
  auto [go, went] = ipc::pipe<int>();
  Child child([go] { static_cast<void>(go.blocking_recv()); });
  const ipc::Descriptor sentinel(pidfd_of(child.pid()));
  const ipc::Descriptor event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const auto main = [&, a_ = &a, b_ = &b, went_ = &went]() -> Task<std::vector<Indices>> {
    const std::vector<ipc::Waitable> all = {*a_, sentinel.get(), *b_, event.get()};
    std::vector<Indices> results;
    results.push_back(co_await ipc::wait(all, 5ms));
    const auto let_go_later = [](Numbers to) -> Task<> {
      co_await sleep(5ms);
      co_await to.send(0);
    };
    Future<void> letting_go = spawn(let_go_later(*went_));
    results.push_back(co_await ipc::wait(all, 30s));
    co_await letting_go;
    co_await a_->send(1);
    results.push_back(co_await ipc::wait(all, 30s));
    co_await b_->send(1);
    results.push_back(co_await ipc::wait(all));
    ::eventfd_write(event.get(), 1);
    results.push_back(co_await ipc::wait(all));
    co_return results;
  };
  const std::vector<Indices> results = run(main);
  REQUIRE(results.size() == 5);
  CHECK(results[0].empty());
  CHECK(results[1] == Indices{1});
  CHECK(results[2] == Indices{1, 2});
  CHECK(results[3] == Indices{0, 1, 2});
  CHECK(results[4] == Indices{0, 1, 2, 3});
  CHECK(ipc::blocking_wait({a, sentinel.get(), b, event.get()}) == Indices{0, 1, 2, 3});
  CHECK(child.wait() == 0);
}

TEST_CASE("waiting for a foreign descriptor leaves its mode alone") {
  std::array<int, 2> ends = {-1, -1};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const ipc::Descriptor reader(ends[0]), writer(ends[1]);
  const auto main = [&]() -> Task<bool> {
    const std::vector<ipc::Waitable> it = {reader.get()};
    const Indices none = co_await ipc::wait(it, 5ms);
    co_return none.empty();
  };
  CHECK(run(main));
  CHECK((::fcntl(reader.get(), F_GETFL) & O_NONBLOCK) == 0);
}

TEST_CASE("the end of a stream is ready, spare ends or not") {
  auto [a, b] = ipc::pipe<int>();
  auto [c, d] = ipc::pipe<int>();
  Child child([b] { b.blocking_send(1); });
  CHECK(a.blocking_recv() == 1);
  CHECK(ipc::blocking_wait({a, c}, 30s) == Indices{0});
  const auto main = [a_ = &a, c_ = &c]() -> Task<Indices> {
    const std::vector<ipc::Waitable> both = {*a_, *c_};
    co_return co_await ipc::wait(both, 30s);
  };
  CHECK(run(main) == Indices{0});
  d.close();
  CHECK(ipc::blocking_wait({a, c}, 30s) == Indices{0, 1});
}

TEST_CASE("a wait can be cancelled, and what it waited for is still there") {
  auto [a, b] = ipc::pipe<int>();
  const auto main = [a_ = &a, b_ = &b]() -> Task<Indices> {
    const std::vector<ipc::Waitable> both = {*a_, *b_};
    for (int i = 0; i < 20; ++i) {
      auto waiting = ipc::wait(both);
      try {
        static_cast<void>(co_await wait_for(std::move(waiting), i % 2 == 0 ? 0ms : 1ms));
      } catch (const TimeoutError&) {
      }
    }
    co_await b_->send(1);
    co_return co_await ipc::wait(both);
  };
  CHECK(run(main) == Indices{0});
  CHECK(a.blocking_recv() == 1);
}

TEST_CASE("a descriptor that is not open is an error") {
  const auto error_of = [](int descriptor) {
    try {
      static_cast<void>(ipc::blocking_wait({descriptor}, 1s));
    } catch (const std::system_error& error) {
      return error.code().value();
    }
    return 0;
  };
  CHECK(error_of(-1) == EBADF);
  CHECK(error_of(9999) == EBADF);
  const auto main = []() -> Task<int> {
    const std::vector<ipc::Waitable> bad = {9999};
    try {
      static_cast<void>(co_await ipc::wait(bad));
    } catch (const std::system_error& error) {
      co_return error.code().value();
    }
    co_return 0;
  };
  CHECK(run(main) == EBADF);
}

TEST_CASE("closed and write-only connections cannot be waited for") {
  auto [reader, writer] = ipc::pipe<int>({.duplex = false});
  CHECK_THROWS_AS(ipc::Waitable(writer), std::logic_error);
  reader.close();
  CHECK_THROWS_AS(ipc::Waitable(reader), std::logic_error);
}

TEST_CASE("waiting beside somebody who receives is no harm") {
  auto [a, b] = ipc::pipe<int>();
  const auto main = [a_ = &a, b_ = &b]() -> Task<std::pair<int, Indices>> {
    const auto receive = [](Numbers from) -> Task<int> { co_return co_await from.recv(); };
    const auto wait_for_it = [](Numbers from) -> Task<Indices> {
      const std::vector<ipc::Waitable> it = {from};
      co_return co_await ipc::wait(it, 30s);
    };
    Future<int> receiving = spawn(receive(*a_));
    Future<Indices> waiting = spawn(wait_for_it(*a_));
    co_await sleep(1ms);
    co_await b_->send(1);
    const int first = co_await receiving;
    // The other may have seen the first message, or waits for the second.
    co_await b_->send(2);
    co_return std::pair(first, co_await std::move(waiting));
  };
  const auto [first, ready] = run(main);
  CHECK(first == 1);
  CHECK(ready == Indices{0});
}
