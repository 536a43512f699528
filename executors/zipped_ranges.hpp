// The ranges that a map is given, as one input: side by side, or a range of tuples.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <ranges>
#include <tuple>
#include <utility>

namespace cofork::detail {

/// Some ranges, an item of each at a time, until the shortest ends. Lvalue ranges are referred to, others are owned.
template <class... Views>
class ZippedRanges {
 public:
  explicit ZippedRanges(Views... views) : views_(std::move(views)...) {}
  /// Only before the first item is taken.
  ZippedRanges(ZippedRanges&& other) : views_(std::move(other.views_)) {}

  /// Calls `use` with the next item of each; false at the end. It goes on to an item when that is asked for, and not
  /// before: for some ranges this takes something from their source.
  template <class F>
  bool take(F&& use) {
    if (places_)
      std::apply([](auto&... place) { (static_cast<void>(++place), ...); }, *places_);
    else
      std::apply([&](Views&... view) { places_.emplace(std::ranges::begin(view)...); }, views_);
    if (at_end(std::index_sequence_for<Views...>())) return false;
    std::apply([&](auto&... place) { use(*place...); }, *places_);
    return true;
  }

  std::optional<std::uint64_t> size() {
    if constexpr ((std::ranges::sized_range<Views> && ...))
      return std::apply(
          [](Views&... view) { return std::min({static_cast<std::uint64_t>(std::ranges::size(view))...}); }, views_);
    else
      return std::nullopt;
  }

 private:
  template <std::size_t... i>
  bool at_end(std::index_sequence<i...>) {
    return ((std::get<i>(*places_) == std::ranges::end(std::get<i>(views_))) || ...);
  }

  std::tuple<Views...> views_;
  std::optional<std::tuple<std::ranges::iterator_t<Views>...>> places_;
};

/// A range of tuples, each the arguments of one call.
template <class View>
class TupleRange : public ZippedRanges<View> {
 public:
  using ZippedRanges<View>::ZippedRanges;

  template <class F>
  bool take(F&& use) {
    return ZippedRanges<View>::take([&](auto&& tuple) { std::apply(use, std::forward<decltype(tuple)>(tuple)); });
  }
};

}  // namespace cofork::detail
