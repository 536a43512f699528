// The inputs of a map over a process pool: ranges, a stream.
#pragma once

#include <algorithm>
#include <cofork/executors/map_job.hpp>
#include <cofork/executors/stream_ahead.hpp>
#include <cofork/executors/zipped_ranges.hpp>
#include <cofork/runtime/stream.hpp>
#include <exception>
#include <optional>
#include <utility>

namespace cofork::detail {

template <class F, class Tuple>
struct Applied;
template <class F, template <class...> class Tuple, class... A>
struct Applied<F, Tuple<A...>> {
  using Result = CallResult<F, A...>;
  using Parameters = detail::Parameters<F, A...>;
};

template <class R, class F, class Parameters, class Input>
class RangeMap : public MapJob<R> {
 public:
  RangeMap(IntrusivePtr<PoolCore> core, const MapOptions& options, F function, Input input)
      : MapJob<R>(std::move(core), options, remote_function<F, Parameters>(), function_key<F, Parameters>(function)),
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
      const bool more = input_.take([&](auto&&... argument) {
        try {
          encode_call<F, Parameters>(writer, function_, std::forward<decltype(argument)>(argument)...);
        } catch (...) {
          encoding_error = std::current_exception();
        }
      });
      if (!more) return Pulled::end;
      if (left_ && *left_ > 0) --*left_;
    } catch (...) {
      this->fail_last(std::current_exception());
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
};

/// A map over a stream.
template <class R, class F, class Parameters, class T>
class StreamMap : public MapJob<R> {
 public:
  StreamMap(IntrusivePtr<PoolCore> core, const MapOptions& options, F function, Stream<T> input)
      : MapJob<R>(std::move(core), options, remote_function<F, Parameters>(), function_key<F, Parameters>(function)),
        function_(function),
        input_(std::move(input), *this) {
    this->is_coroutine_ = RemoteCall<F, Parameters>::is_coroutine;
  }

  void start() {
    MapJobBase::start();
    input_.start();
  }

 private:
  friend class StreamAhead<T, StreamMap>;
  using typename MapJobBase::Pulled;

  std::size_t read_ahead() const noexcept { return std::min(this->chunk_size(), this->room()); }
  Pulled pull(ipc::Writer& writer) override {
    if (input_.empty()) {
      if (!input_.ended()) return Pulled::later;
      if (input_.error()) this->fail_last(input_.error());
      return Pulled::end;
    }
    encode_call<F, Parameters>(writer, function_, input_.take());
    return Pulled::item;
  }
  void stop_input() noexcept override { input_.stop(); }
  std::string function_name() const override { return name_of_function(function_); }

  [[no_unique_address]] F function_;
  StreamAhead<T, StreamMap> input_;
};

}  // namespace cofork::detail
