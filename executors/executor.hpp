// Executor: what can run functions elsewhere, whatever "elsewhere" is.
#pragma once

#include <cofork/executors/options.hpp>
#include <utility>
#include <vector>

namespace cofork {

/// What `ProcessPoolExecutor`, `ThreadPoolExecutor`, `InlineExecutor` and `ForkExecutor` share (`concurrent.futures.
/// Executor`), for code that leaves it to its caller where work runs:
///
///     template <cofork::Executor E>
///     cofork::Task<long> total(E& executor, const std::vector<int>& numbers);
///
/// `submit(f, args...)` gives a future, `map(f, ranges...)` a stream of results in the order of the input, and
/// `shutdown()` an awaitable that has ended when all of the work has. What a function may be, and may take and give, is
/// each executor's own: code for any of them passes function pointers or captureless lambdas, and values with a codec.
template <class E>
concept Executor = requires(E& executor) {
  executor.submit(+[] { return 0; });
  executor.submit(
      SubmitOptions{}, +[] { return 0; });
  executor.map(
      +[](int x) { return x; }, std::declval<std::vector<int>&>());
  executor.map(
      MapOptions{}, +[](int x) { return x; }, std::declval<std::vector<int>&>());
  executor.shutdown();
  executor.shutdown(ShutdownOptions{});
};

}  // namespace cofork
