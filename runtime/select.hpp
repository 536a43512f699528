// select(): the first of several awaitables to complete.
#pragma once

#include <cofork/runtime/branches.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/this_context.hpp>
#include <cstddef>
#include <optional>
#include <utility>
#include <variant>

namespace cofork {

namespace detail {

/// Stops when the first branch has ended. One that ends only because the awaiter was cancelled decides nothing.
class SelectGroup final : public BranchGroup {
 public:
  explicit SelectGroup(Context* parent) noexcept : BranchGroup(parent, "select") {}

  const BranchBase* winner() const noexcept { return winner_; }

 private:
  void branch_ended(BranchBase& branch) noexcept override {
    if (winner_ || (parent_cancelled() && branch.error() && is_cancellation(branch.error()))) return;
    winner_ = &branch;
    stop();
  }

  const BranchBase* winner_ = nullptr;
};

template <class Variant, std::size_t... index, class... R>
Variant take_winner(std::index_sequence<index...>, const BranchBase* winner, Branch<R>&... branches) {
  std::optional<Variant> result;
  const auto take_if = [&]<std::size_t i>(std::in_place_index_t<i> place, auto& branch) {
    if (&branch == winner) result.emplace(place, branch.take_value());
  };
  (take_if(std::in_place_index<index>, branches), ...);
  if (!result) throw CancelledError();
  return std::move(*result);
}

template <class... R>
Task<std::variant<ResultValue<R>...>> select_branches(Branch<R>... branches) {
  Context* const parent = co_await ThisContext{};
  SelectGroup group(parent);
  (group.start(branches), ...);
  co_await group;
  co_return take_winner<std::variant<ResultValue<R>...>>(std::index_sequence_for<R...>(), group.winner(), branches...);
}

}  // namespace detail

/// The value of the first awaitable to complete, in a variant with its index (`std::monostate` for void). If that one
/// ended with an error, the error is thrown. They start in order; among those that are complete at once the first wins.
///
/// The others are cancelled as by a cancelled awaiter (a `Future`'s work is stopped, running or not; a task that has
/// not begun never does), and have ended before the result is there; what they give is dropped, a value that had
/// already arrived and an error alike. `shield` is how to keep one going. Rvalues are owned, lvalue `Future`s borrowed.
///
/// Cancelling the awaiter cancels all: `CancelledError` when they have ended, unless one gave a value first.
/// Python: `asyncio.wait(..., return_when=FIRST_COMPLETED)` and cancelling the rest.
template <detail::Combinable... A>
requires(sizeof...(A) > 0) Task<std::variant<detail::ResultValue<await_result_t<A>>...>> select(A&&... awaitables) {
  return detail::select_branches(detail::make_branch(std::forward<A>(awaitables), "select")...);
}

}  // namespace cofork
