#include <dirent.h>

#include <cofork/runtime/gather.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Task;

namespace {

struct Own : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class E>
void throw_it() {
  if constexpr (std::is_same_v<E, std::bad_alloc>)
    throw std::bad_alloc();
  else
    throw E("the reason");
}

template <class E>
Task<bool> arrives_as_itself(ProcessPoolExecutor& pool) {
  auto future = pool.submit(throw_it<E>);
  try {
    co_await future;
  } catch (const E& error) {
    co_return typeid(error) == typeid(E) &&
        std::string(error.what()) == (std::is_same_v<E, std::bad_alloc> ? std::bad_alloc().what() : "the reason");
  } catch (...) {
  }
  co_return false;
}

// Its codec refuses to decode a negative one, in the process that gets it.
struct Picky {
  int value = 0;
  int decoder = 0;
};

std::vector<int> open_descriptors() {
  std::vector<int> open;
  DIR* const directory = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(directory))
    if (entry->d_name[0] != '.' && std::atoi(entry->d_name) != ::dirfd(directory))
      open.push_back(std::atoi(entry->d_name));
  ::closedir(directory);
  return open;
}
std::vector<std::string> what_is_open() {
  std::vector<std::string> names;
  for (const int descriptor : open_descriptors()) {
    if (descriptor <= 2) continue;
    std::error_code error;
    names.push_back(std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(descriptor), error));
  }
  return names;
}

}  // namespace

template <>
struct cofork::Codec<Picky> {
  static void encode(ipc::Writer& writer, const Picky& picky) { writer.value(picky.value); }
  static Picky decode(ipc::Reader& reader) {
    const int value = reader.value<int>();
    if (value < 0) throw std::range_error("not negative");
    return {value, 1};
  }
};

TEST_CASE("standard exceptions arrive as themselves") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    bool right = co_await arrives_as_itself<std::runtime_error>(pool);
    CHECK(right);
    right = co_await arrives_as_itself<std::logic_error>(pool);
    CHECK(right);
    right = co_await arrives_as_itself<std::invalid_argument>(pool);
    CHECK(right);
    right = co_await arrives_as_itself<std::out_of_range>(pool);
    CHECK(right);
    right = co_await arrives_as_itself<std::overflow_error>(pool);
    CHECK(right);
    right = co_await arrives_as_itself<std::bad_alloc>(pool);
    CHECK(right);
    right = co_await arrives_as_itself<cofork::CancelledError>(pool);
    CHECK(right);
    right = co_await arrives_as_itself<cofork::DecodeError>(pool);
    CHECK(right);
    auto system = pool.submit([] { throw std::system_error(ENOENT, std::generic_category(), "opening"); });
    std::error_code code;
    try {
      co_await system;
    } catch (const std::system_error& error) {
      code = error.code();
    }
    CHECK(code == std::errc::no_such_file_or_directory);
    CHECK(pool.stats().workers_started == 1);
  });
}

TEST_CASE("other exceptions arrive as RemoteError with their type's name") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto own = pool.submit(throw_it<Own>);
    auto number = pool.submit([] { throw 42; });
    std::string type, what, type_of_number;
    try {
      co_await own;
    } catch (const cofork::RemoteError& error) {
      type = error.type_name();
      what = error.what();
    }
    CHECK(type.find("Own") != std::string::npos);
    CHECK(what.find("the reason") != std::string::npos);
    try {
      co_await number;
    } catch (const cofork::RemoteError& error) {
      type_of_number = error.type_name();
    }
    CHECK(type_of_number == "int");
    const int alive = co_await pool.submit(square, 3);
    CHECK(alive == 9);
  });
}

TEST_CASE("a nested exception keeps what is nested") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto future = pool.submit([] {
      try {
        throw std::out_of_range("inner");
      } catch (...) {
        std::throw_with_nested(std::runtime_error("outer"));
      }
    });
    std::string inner;
    try {
      co_await future;
    } catch (const std::runtime_error& error) {
      try {
        std::rethrow_if_nested(error);
      } catch (const std::out_of_range& nested) {
        inner = nested.what();
      }
    }
    CHECK(inner == "inner");
  });
}

TEST_CASE("a result or an argument that cannot be decoded fails one future") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    std::vector<Future<Picky>> futures;
    for (int i = 0; i < 6; ++i)
      futures.push_back(pool.submit([](int value) { return Picky{value}; }, i % 2 == 0 ? i : -i));
    for (std::size_t i = 0; i < 6; ++i) {
      const bool done = co_await until([&] { return futures[i].done(); });
      REQUIRE(done);
      if (i % 2 == 0)
        CHECK(futures[i].result().value == static_cast<int>(i));
      else
        CHECK(error_of<std::range_error>(futures[i]) == "not negative");
    }
    auto argument = pool.submit([](Picky picky) { return picky.value; }, Picky{-1});
    auto good = pool.submit([](Picky picky) { return picky.value; }, Picky{5});
    const int value = co_await good;
    CHECK(value == 5);
    CHECK(error_of<std::range_error>(argument) == "not negative");
    CHECK(pool.stats().workers_started == 1);
  });
}

TEST_CASE("workers hold no descriptor of this process and read nothing from standard input") {
  int pipe[2];
  REQUIRE(::pipe(pipe) == 0);  // deliberately not close-on-exec
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    co_await pool.submit(square, 1);
    const std::vector<std::string> own = what_is_open();
    const std::vector<std::string> names = co_await pool.submit(what_is_open);
    CHECK(names.size() <= 7);
    for (const std::string& name : names) {
      INFO(name);
      const bool ours = name.find("cofork-") != std::string::npos || name.find("eventfd") != std::string::npos;
      if (!ours) CHECK(std::find(own.begin(), own.end(), name) == own.end());
    }
    const int read = co_await pool.submit([] {
      char byte;
      return static_cast<int>(::read(0, &byte, 1));
    });
    CHECK(read == 0);
  });
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_CASE("workers run none of this process's signal handlers") {
  Shared shared;
  static int handled = 0;
  struct sigaction before {};
  struct sigaction handler {};
  handler.sa_handler = [](int) {
    ++handled;
    ++Shared::at(0);
  };
  ::sigaction(SIGUSR1, &handler, &before);
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const pid_t pid = co_await pool.submit(own_pid);
    auto task = pool.submit(wait_at_gate, 1, 2);
    const bool started = co_await until([&] { return shared[1] == 1; });
    REQUIRE(started);
    ::kill(pid, SIGUSR1);
    const bool done = co_await until([&] { return task.done(); });
    REQUIRE(done);
    CHECK(error_of<cofork::WorkerDied>(task).find("SIGUSR1") != std::string::npos);
  });
  ::sigaction(SIGUSR1, &before, nullptr);
  CHECK(handled == 0);
  CHECK(shared[0] == 0);
}

TEST_CASE("SIGTERM to a worker does not reach the loop of this process") {
  Shared shared;
  static int handled = 0;
  struct sigaction before {};
  struct sigaction handler {};
  handler.sa_handler = [](int) { ++handled; };
  ::sigaction(SIGTERM, &handler, &before);
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto task = pool.submit(never_end, 0);
    const bool started = co_await until([&] { return shared[0] == 1; });
    REQUIRE(started);
    const std::vector<pid_t> pids = co_await workers_of(pool, 1);
    ::kill(pids[0], SIGTERM);
    const bool done = co_await until([&] { return task.done(); });
    REQUIRE(done);
    CHECK(error_of<cofork::WorkerDied>(task).find("SIGTERM") != std::string::npos);
  });
  ::sigaction(SIGTERM, &before, nullptr);
  CHECK(handled == 0);
}
