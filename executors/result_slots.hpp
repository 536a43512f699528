// The results of a map, in the order in which they are taken.
#pragma once

#include <cofork/runtime/outcome.hpp>
#include <cstdint>
#include <deque>
#include <exception>
#include <optional>
#include <utility>

namespace cofork::detail {

/// In order, each item has its slot from the start on; otherwise each result gets one when it comes.
template <class R>
class ResultSlots {
 public:
  explicit ResultSlots(bool ordered) noexcept : ordered_(ordered) {}

  void expect_item() {
    if (ordered_) slots_.emplace_back();
  }
  /// The slot of the result of item `index`, if `taken` were taken before.
  Outcome<R>& slot(std::uint64_t index, std::uint64_t taken) {
    if (ordered_) return slots_[static_cast<std::size_t>(index - taken)];
    return slots_.emplace_back();
  }
  bool has_next() const { return !slots_.empty() && (slots_.front().has_value() || slots_.front().has_error()); }
  /// The value moved out, or its error.
  std::optional<Stored<R>> take_next(std::exception_ptr& error) {
    std::optional<Stored<R>> value;
    if (slots_.front().has_error())
      error = slots_.front().error();
    else
      value.emplace(std::move(slots_.front().value()));
    slots_.pop_front();
    return value;
  }
  void clear() noexcept { slots_.clear(); }

 private:
  const bool ordered_;
  std::deque<Outcome<R>> slots_;
};

}  // namespace cofork::detail
