// The inputs of a map: ranges side by side, a range of tuples, a stream.
#pragma once

#include <cofork/executors/map_job.hpp>
#include <cofork/runtime/event.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/stream.hpp>
#include <deque>
#include <exception>
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

  static auto types(auto visit) { return visit.template operator()<std::ranges::range_reference_t<Views>...>(); }

  void begin() {
    std::apply([&](Views&... view) { places_.emplace(std::ranges::begin(view)...); }, views_);
  }
  bool at_end() { return at_end(std::index_sequence_for<Views...>()); }
  template <class F>
  void visit(F&& use) {
    std::apply([&](auto&... place) { use(*place...); }, *places_);
  }
  void next() {
    std::apply([](auto&... place) { (static_cast<void>(++place), ...); }, *places_);
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
  void visit(F&& use) {
    ZippedRanges<View>::visit([&](auto&& tuple) { std::apply(use, std::forward<decltype(tuple)>(tuple)); });
  }
};

template <class F, class Tuple>
struct Applied;
template <class F, template <class...> class Tuple, class... A>
struct Applied<F, Tuple<A...>> {
  using Result = CallResult<F, A...>;
  using Parameters = detail::Parameters<F, A...>;
};

template <class R, class F, class Parameters, class Input>
class RangeMap : public MapResults<R> {
 public:
  RangeMap(IntrusivePtr<PoolCore> core, const MapOptions& options, F function, Input input)
      : MapResults<R>(std::move(core), options, remote_function<F, Parameters>(),
                      function_key<F, Parameters>(function)),
        function_(function),
        input_(std::move(input)) {
    this->is_coroutine_ = RemoteCall<F, Parameters>::is_coroutine;
    left_ = input_.size();
  }

 private:
  using typename MapJobBase::Pulled;

  Pulled pull(ipc::Writer& writer) override {
    std::exception_ptr encoding_error;
    try {
      // Only now: for some ranges these take something from their source.
      if (!begun_) input_.begin();
      if (advance_) input_.next();
      begun_ = true;
      advance_ = false;
      if (input_.at_end()) return Pulled::end;
      advance_ = true;
      input_.visit([&](auto&&... argument) {
        try {
          encode_call<F, Parameters>(writer, function_, std::forward<decltype(argument)>(argument)...);
        } catch (...) {
          encoding_error = std::current_exception();
        }
      });
      if (left_ && *left_ > 0) --*left_;
    } catch (...) {
      this->input_failed(std::current_exception());
      return Pulled::end;
    }
    if (encoding_error) std::rethrow_exception(encoding_error);
    return Pulled::item;
  }
  std::optional<std::uint64_t> left() const override { return left_; }
  std::string function_name() const override { return name_of_function(function_); }

  [[no_unique_address]] F function_;
  Input input_;
  std::optional<std::uint64_t> left_;
  bool begun_ = false;
  bool advance_ = false;
};

/// A map over a stream: a coroutine awaits its values, a few ahead.
template <class R, class F, class Parameters, class T>
class StreamMap : public MapResults<R> {
 public:
  StreamMap(IntrusivePtr<PoolCore> core, const MapOptions& options, F function, Stream<T> input)
      : MapResults<R>(std::move(core), options, remote_function<F, Parameters>(),
                      function_key<F, Parameters>(function)),
        function_(function),
        input_(std::move(input)) {
    this->is_coroutine_ = RemoteCall<F, Parameters>::is_coroutine;
  }
  ~StreamMap() override { stop_input(); }

  void start() {
    MapJobBase::start();
    reader_ = make_intrusive<SpawnedTask<void>>(read(), "the input of a map");
    reader_->start(Loop::current().root());
  }

 private:
  using typename MapJobBase::Pulled;

  Task<> read() {
    try {
      while (std::optional<T> value = co_await input_.next()) {
        arrived_.push_back(std::move(*value));
        tell_arrival();
        if (stopped_) co_return;
        while (arrived_.size() > this->chunk_size()) {
          taken_from_.clear();
          co_await taken_from_.wait();
        }
      }
    } catch (...) {
      error_ = std::current_exception();
    }
    ended_ = true;
    tell_arrival();
  }

  /// In which the reader may be told to stop.
  void tell_arrival() {
    telling_ = true;
    this->input_arrived();
    telling_ = false;
  }

  Pulled pull(ipc::Writer& writer) override {
    if (arrived_.empty()) {
      if (!ended_) return Pulled::later;
      if (error_) this->input_failed(error_);
      return Pulled::end;
    }
    T value = std::move(arrived_.front());
    arrived_.pop_front();
    taken_from_.set();
    encode_call<F, Parameters>(writer, function_, std::move(value));
    return Pulled::item;
  }
  void stop_input() noexcept override {
    stopped_ = true;
    if (telling_) return;  // it ends by itself
    if (const IntrusivePtr<SpawnedTask<void>> reader = std::exchange(reader_, {})) reader->abandon();
  }
  std::string function_name() const override { return name_of_function(function_); }

  [[no_unique_address]] F function_;
  Stream<T> input_;
  std::deque<T> arrived_;
  std::exception_ptr error_;
  bool ended_ = false;
  bool telling_ = false;
  bool stopped_ = false;
  Event taken_from_;
  IntrusivePtr<SpawnedTask<void>> reader_;
};

}  // namespace cofork::detail
