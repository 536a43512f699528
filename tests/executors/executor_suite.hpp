// For tests that hold for every executor: the list of them, and what tells them apart.
#pragma once

#include <cofork/executors/executor.hpp>
#include <cofork/executors/fork_executor.hpp>
#include <cofork/executors/inline_executor.hpp>
#include <cofork/executors/process_pool_executor.hpp>
#include <cofork/executors/thread_pool_executor.hpp>

#include "executors/pool_harness.hpp"

#define COFORK_EXECUTORS \
  cofork::ProcessPoolExecutor, cofork::ForkExecutor, cofork::ThreadPoolExecutor, cofork::InlineExecutor

namespace executor_test {

/// An executor with two workers.
template <class E>
class Two : public E {
 public:
  Two() : E(2u) {}
};
template <>
class Two<cofork::InlineExecutor> : public cofork::InlineExecutor {};

/// Whether tasks are under way while their submitter goes on.
template <class E>
inline constexpr bool is_concurrent = true;
template <>
inline constexpr bool is_concurrent<cofork::InlineExecutor> = false;

/// Whether a function that is executing can be stopped.
template <class E>
inline constexpr bool can_kill = true;
template <>
inline constexpr bool can_kill<cofork::InlineExecutor> = false;
template <>
inline constexpr bool can_kill<cofork::ThreadPoolExecutor> = false;

/// Lets a test's workers pass all gates at its end, however it ends: threads cannot be killed. Declare it after the
/// executor.
class OpenGates {
 public:
  explicit OpenGates(std::initializer_list<std::size_t> gates) : gates_(gates) {}
  OpenGates(const OpenGates&) = delete;
  ~OpenGates() {
    for (const std::size_t gate : gates_) pool_test::Shared::at(gate) = 1;
  }

 private:
  std::vector<std::size_t> gates_;
};

inline int fail_with(int number) { throw std::domain_error("failed with " + std::to_string(number)); }
inline int square_of_odd(int x) {
  if (x % 2 == 0) throw std::domain_error(std::to_string(x) + " is even");
  return x * x;
}
inline cofork::Task<int> square_later(int x) {
  co_await cofork::sleep(std::chrono::milliseconds(1));
  co_return x* x;
}

}  // namespace executor_test
