// gather(): the results of several awaitables at once.
#pragma once

#include <cofork/runtime/branches.hpp>
#include <cofork/runtime/future_set.hpp>
#include <cofork/runtime/this_context.hpp>
#include <tuple>
#include <utility>
#include <vector>

namespace cofork {

namespace detail {

/// Stops at the first error, and keeps it.
class GatherGroup final : public BranchGroup {
 public:
  explicit GatherGroup(Context* parent) noexcept : BranchGroup(parent, "gather") {}

  void check() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void branch_ended(BranchBase& branch) noexcept override {
    if (error_ || !branch.error()) return;
    error_ = branch.error();
    stop();
  }

  std::exception_ptr error_;
};

template <class... R>
Task<std::tuple<ResultValue<R>...>> gather_branches(Branch<R>... branches) {
  Context* const parent = co_await ThisContext{};
  GatherGroup group(parent);
  (group.start(branches), ...);
  co_await group;
  group.check();
  co_return std::tuple<ResultValue<R>...>(branches.take_value()...);
}

template <class T>
std::vector<Branch<T>> make_branches(std::vector<Task<T>>&& tasks) {
  std::vector<Branch<T>> branches;
  branches.reserve(tasks.size());
  for (Task<T>& task : tasks) branches.emplace_back(std::move(task), "gather");
  return branches;
}

/// The branches are the awaiter's.
template <class T>
Task<> run_branches(std::vector<Branch<T>>& branches) {
  Context* const parent = co_await ThisContext{};
  GatherGroup group(parent);
  for (Branch<T>& branch : branches) group.start(branch);
  co_await group;
  group.check();
}

/// Until all are done. If one fails, or the awaiter is cancelled, the others are stopped and waited for.
Task<> gather_states(FutureSet::States states);

}  // namespace detail

/// All results, in order, in a tuple (`std::monostate` for void). The awaitables start in order, and wait concurrently.
/// The first error cancels the others as by a cancelled awaiter (a `Future`'s work is stopped, running or not; a task
/// that has not begun never does), and is thrown when they have ended; further errors are dropped. Rvalues are owned,
/// lvalue `Future`s borrowed, and their values copied.
///
/// Cancelling the awaiter cancels all: `CancelledError` when they have ended, unless all gave a value. Python:
/// `asyncio.gather`, which leaves the others running after an error.
template <detail::Combinable... A>
requires(sizeof...(A) > 1) Task<std::tuple<detail::ResultValue<await_result_t<A>>...>> gather(A&&... awaitables) {
  return detail::gather_branches(detail::make_branch(std::forward<A>(awaitables), "gather")...);
}

/// The same for a number of tasks known only at run time; of none the result is there at once.
template <class T>
Task<std::vector<T>> gather(std::vector<Task<T>> tasks) {
  std::vector<detail::Branch<T>> branches = detail::make_branches(std::move(tasks));
  co_await detail::run_branches(branches);
  std::vector<T> values;
  values.reserve(branches.size());
  for (detail::Branch<T>& branch : branches) values.push_back(branch.take());
  co_return values;
}
inline Task<> gather(std::vector<Task<>> tasks) {
  std::vector<detail::Branch<void>> branches = detail::make_branches(std::move(tasks));
  co_await detail::run_branches(branches);
}

/// The same for futures, which it owns. It takes a small node for each future and no coroutine.
template <class T>
Task<std::vector<T>> gather(std::vector<Future<T>> futures) {
  co_await detail::gather_states(detail::states_of(futures));
  std::vector<T> values;
  values.reserve(futures.size());
  for (Future<T>& future : futures) values.push_back(std::move(future.result()));
  co_return values;
}
inline Task<> gather(std::vector<Future<void>> futures) { co_await detail::gather_states(detail::states_of(futures)); }

}  // namespace cofork
