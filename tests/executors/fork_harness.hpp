// What the tests of ForkExecutor share.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cofork/executors/fork_executor.hpp>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <numeric>

#include "executors/pool_harness.hpp"

namespace fork_test {

using namespace pool_test;

/// What awaiting it throws, as text; empty if nothing.
template <class E, class A>
cofork::Task<std::string> thrown_by(A awaitable) {
  try {
    static_cast<void>(co_await std::move(awaitable));
  } catch (const E& error) {
    co_return error.what();
  } catch (const std::exception& error) {
    co_return std::string("another error: ") + error.what();
  }
  co_return "no error";
}

/// The next item of a stream, or what it throws.
template <class E, class T>
cofork::Task<std::string> thrown_by_next(cofork::Stream<T>& stream) {
  try {
    auto value = co_await stream.next();
    co_return value ? "a value" : "the end";
  } catch (const E& error) {
    co_return error.what();
  } catch (const std::exception& error) {
    co_return std::string("another error: ") + error.what();
  }
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// How many children this process has, zombies included.
inline int children() {
  int count = 0;
  if (std::FILE* file = std::fopen("/proc/thread-self/children", "re")) {
    int pid = 0;
    while (std::fscanf(file, "%d", &pid) == 1) ++count;
    std::fclose(file);
  }
  return count;
}

}  // namespace fork_test
