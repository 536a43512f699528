// The forms of submit, map and starmap that take no options, which all executors share.
#pragma once

#include <cofork/executors/options.hpp>
#include <cofork/runtime/stream.hpp>
#include <concepts>
#include <ranges>
#include <type_traits>
#include <utility>

namespace cofork::detail {

/// Each calls the one of `Executor` that takes options, with the default ones.
template <class Executor>
class WithDefaultOptions {
 public:
  template <class F, class... A>
  requires std::invocable<std::decay_t<F>, std::decay_t<A>...>
  auto submit(F function, A&&... arguments) {
    return executor().submit(SubmitOptions{}, std::move(function), std::forward<A>(arguments)...);
  }
  template <class F, std::ranges::input_range... Rs>
  requires(sizeof...(Rs) > 0) && std::invocable<F&, std::ranges::range_reference_t<Rs>...> auto map(F function,
                                                                                                    Rs&&... ranges) {
    return executor().map(MapOptions{}, std::move(function), std::forward<Rs>(ranges)...);
  }
  template <class F, class T>
  requires std::invocable<F&, T>
  auto map(F function, Stream<T> input) { return executor().map(MapOptions{}, std::move(function), std::move(input)); }
  template <class F, std::ranges::input_range Rs>
  auto starmap(F function, Rs&& tuples) {
    return executor().starmap(MapOptions{}, std::move(function), std::forward<Rs>(tuples));
  }

 private:
  Executor& executor() { return static_cast<Executor&>(*this); }
};

}  // namespace cofork::detail
