// A map over a thread pool: pulls its input as there is room, and makes a call of each item.
#pragma once

#include <cofork/executors/local_call.hpp>
#include <cofork/executors/map_progress.hpp>
#include <cofork/executors/stream_ahead.hpp>
#include <cofork/executors/thread_call.hpp>
#include <cofork/executors/thread_pool_core.hpp>
#include <cofork/executors/thread_work.hpp>
#include <cofork/runtime/stream.hpp>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

namespace cofork::detail {

class ThreadMapBase;

/// One call of a map.
class ThreadMapItem : public RefCounted, public ThreadWork, public Link<ThreadMapItem> {
 public:
  void add_reference() noexcept override { RefCounted::add_reference(); }
  void drop_reference() noexcept override { RefCounted::drop_reference(); }

  void executed() noexcept override;
  void give_up(std::exception_ptr error) noexcept override;
  std::string name() const override;
  /// Whatever it gives, nobody waits for it any more.
  void stop() noexcept;

 protected:
  ThreadMapItem(IntrusivePtr<ThreadMapBase> job, std::uint64_t index);
  /// Hands the outcome on, and says how it was.
  virtual ThreadPoolCore::Ended deliver() noexcept = 0;

  const IntrusivePtr<ThreadMapBase> job_;
  const std::uint64_t index_;

 private:
  bool given_up_ = false;
};

/// What does not depend on the types of the map.
class ThreadMapBase : public MapProgress {
 public:
  /// Begins to pull; the deadline counts from here.
  void start();
  void taken() override;

 protected:
  ThreadMapBase(IntrusivePtr<ThreadPoolCore> core, const MapOptions& options);
  ~ThreadMapBase() override = default;

  /// Makes a call of the next item of the input and gives it to `run`. Throws what making it throws; an exception of
  /// the input itself ends it, by `fail_last`.
  virtual Pulled pull() = 0;
  virtual std::string function_name() const = 0;
  void run(ThreadMapItem& item) { core_->enqueue(item); }
  void pull_more() noexcept override;

 private:
  friend class ThreadMapItem;
  std::size_t window() const noexcept;
  void stop_items() noexcept override;

  const IntrusivePtr<ThreadPoolCore> core_;
  const std::chrono::nanoseconds item_timeout_;
  bool pulling_ = false;
  List<ThreadMapItem> items_;
};

/// With the function and the results of type `R`.
template <class R, class F>
class ThreadMap : public MapResults<R, ThreadMapBase> {
 public:
  ThreadMap(IntrusivePtr<ThreadPoolCore> core, const MapOptions& options, F&& function)
      : MapResults<R, ThreadMapBase>(std::move(core), options), function_(std::move(function)) {}

 protected:
  /// The arguments are a tuple of its own for each call.
  template <class Arguments>
  class Item final : public ThreadMapItem {
   public:
    template <class... A>
    Item(ThreadMap& job, std::uint64_t index, A&&... arguments)
        : ThreadMapItem(IntrusivePtr<ThreadMapBase>(&job), index),
          map_(job),
          arguments_(std::in_place, std::forward<A>(arguments)...) {}

   private:
    void execute() noexcept override {
      execution_.execute(outcome_,
                         [this]() -> decltype(auto) { return std::apply(map_.function_, std::move(*arguments_)); });
    }
    bool request_stop() noexcept override { return executing() && execution_.request_stop(); }
    ThreadPoolCore::Ended deliver() noexcept override {
      const ThreadPoolCore::Ended ended = how_ended<is_coroutine>(outcome_);
      if (map_.wanted(index_)) {
        map_.slot(index_) = std::move(outcome_);
        map_.stored();
      }
      return ended;
    }

    static constexpr bool is_coroutine =
        is_task<std::remove_cvref_t<decltype(std::apply(std::declval<F&>(), std::declval<Arguments>()))>>;

    ThreadMap& map_;
    std::optional<Arguments> arguments_;
    Outcome<R> outcome_;
    [[no_unique_address]] ThreadExecution<is_coroutine> execution_;
  };

  template <class Arguments, class... A>
  void call_with(A&&... arguments) {
    const auto item = make_intrusive<Item<Arguments>>(*this, this->pulled_, std::forward<A>(arguments)...);
    this->run(*item);
  }

 private:
  std::string function_name() const override { return name_of_call(function_); }

  F function_;
};

template <class R, class F, class Arguments, class Input>
class ThreadRangeMap final : public ThreadMap<R, F> {
 public:
  ThreadRangeMap(IntrusivePtr<ThreadPoolCore> core, const MapOptions& options, F&& function, Input input)
      : ThreadMap<R, F>(std::move(core), options, std::move(function)),
        input_(std::move(input)),
        left_(input_.size()) {}

 private:
  using typename ThreadMapBase::Pulled;

  Pulled pull() override {
    std::exception_ptr error;
    try {
      const bool more = input_.take([&](auto&&... argument) {
        try {
          this->template call_with<Arguments>(std::forward<decltype(argument)>(argument)...);
        } catch (...) {
          error = std::current_exception();
        }
      });
      if (!more) return Pulled::end;
    } catch (...) {
      this->fail_last(std::current_exception());
      return Pulled::end;
    }
    if (left_ && *left_ > 0) --*left_;
    if (error) std::rethrow_exception(error);
    return Pulled::item;
  }
  std::optional<std::uint64_t> left() const override { return left_; }

  Input input_;
  std::optional<std::uint64_t> left_;
};

template <class R, class F, class T>
class ThreadStreamMap final : public ThreadMap<R, F> {
 public:
  ThreadStreamMap(IntrusivePtr<ThreadPoolCore> core, const MapOptions& options, F&& function, Stream<T> input)
      : ThreadMap<R, F>(std::move(core), options, std::move(function)), input_(std::move(input), *this) {}

  void start() {
    ThreadMapBase::start();
    input_.start();
  }

 private:
  friend class StreamAhead<T, ThreadStreamMap>;
  using typename ThreadMapBase::Pulled;

  std::size_t read_ahead() const noexcept { return 0; }
  Pulled pull() override {
    if (input_.empty()) {
      if (!input_.ended()) return Pulled::later;
      if (input_.error()) this->fail_last(input_.error());
      return Pulled::end;
    }
    this->template call_with<std::tuple<T>>(input_.take());
    return Pulled::item;
  }
  void stop_input() noexcept override { input_.stop(); }

  StreamAhead<T, ThreadStreamMap> input_;
};

}  // namespace cofork::detail
