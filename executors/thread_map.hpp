// A map over a thread pool: pulls its input as there is room, and keeps the results until they are taken.
#pragma once

#include <cofork/executors/local_call.hpp>
#include <cofork/executors/result_slots.hpp>
#include <cofork/executors/stream_ahead.hpp>
#include <cofork/executors/thread_call.hpp>
#include <cofork/executors/thread_pool_core.hpp>
#include <cofork/executors/thread_work.hpp>
#include <cofork/executors/work.hpp>
#include <cofork/runtime/stream.hpp>
#include <cofork/runtime/timer_heap.hpp>
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
class ThreadMapBase : public RefCounted, private OpenInput {
 public:
  /// Begins to pull; the deadline counts from here.
  void start();
  void close() noexcept;
  bool ready() const { return has_next() || at_end() || (expired_ && !closed_); }
  /// Before the next result is taken: throws if there is none because the map's time is over; false at the end.
  bool check_next();
  /// After it was taken.
  void taken();
  StreamConsumer consumer;

 protected:
  ThreadMapBase(IntrusivePtr<ThreadPoolCore> core, const MapOptions& options);
  ~ThreadMapBase() override = default;

  enum class Pulled { item, later, end };
  /// Makes a call of the next item of the input and gives it to `run`. Throws what making it throws; an exception of
  /// the input itself ends it, by `input_failed`.
  virtual Pulled pull() = 0;
  virtual std::string function_name() const = 0;
  virtual std::optional<std::uint64_t> left() const { return std::nullopt; }
  virtual void stop_input() noexcept {}
  void run(ThreadMapItem& item) { core_->enqueue(item); }
  void input_failed(std::exception_ptr error) noexcept;
  /// An asynchronous input has more now.
  void input_arrived() { fill(); }
  std::uint64_t next_index() const noexcept { return pulled_; }
  std::size_t window() const noexcept;

  virtual void expect_item() = 0;
  virtual void store_error(std::uint64_t index, std::exception_ptr error) = 0;
  virtual bool has_next() const = 0;
  virtual void forget_results() noexcept = 0;

  /// Whether a result of this index is still wanted.
  bool wanted(std::uint64_t index) const noexcept { return !closed_ && (!ordered_ || index >= taken_); }
  void stored() noexcept {
    if (has_next()) consumer.wake();
  }

  const bool ordered_;
  std::uint64_t taken_ = 0;  // results taken by the consumer

 private:
  friend class ThreadMapItem;
  void fill();
  void pool_closes() noexcept override;
  void pool_ends(const std::exception_ptr& error) noexcept override;
  void fail_item(std::uint64_t index, std::exception_ptr error) noexcept;
  void fail_next_item(std::exception_ptr error) noexcept;
  void end_input() noexcept;
  void stop_items() noexcept;
  void expire() noexcept;
  bool at_end() const noexcept { return closed_ || (input_ended_ && !cut_off_ && taken_ == pulled_); }

  const IntrusivePtr<ThreadPoolCore> core_;
  const std::size_t buffersize_;
  const std::chrono::nanoseconds timeout_, item_timeout_;
  std::uint64_t pulled_ = 0;  // items taken from the input
  bool filling_ = false;
  bool input_ended_ = false;
  bool unbounded_ = false;  // the pool closes: all that is left is run
  bool closed_ = false;
  bool expired_ = false;
  bool cut_off_ = false;  // by that: there is more in the input
  List<ThreadMapItem> items_;
  struct Deadline : Timer {
    ThreadMapBase* job = nullptr;
  };
  Deadline deadline_;
};

/// With the function and the results of type `R`.
template <class R, class F>
class ThreadMap : public ThreadMapBase {
 public:
  ThreadMap(IntrusivePtr<ThreadPoolCore> core, const MapOptions& options, F&& function)
      : ThreadMapBase(std::move(core), options), function_(std::move(function)) {}

  std::optional<Stored<R>> take_next() {
    if (!check_next()) return std::nullopt;
    std::exception_ptr error;
    std::optional<Stored<R>> value = results_.take_next(error);
    taken();
    if (error) std::rethrow_exception(error);
    return value;
  }

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
        map_.results_.slot(index_, map_.taken_) = std::move(outcome_);
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
    const auto item = make_intrusive<Item<Arguments>>(*this, next_index(), std::forward<A>(arguments)...);
    run(*item);
  }

 private:
  void expect_item() override { results_.expect_item(); }
  void store_error(std::uint64_t index, std::exception_ptr error) override {
    results_.slot(index, taken_).set_error(std::move(error));
  }
  bool has_next() const override { return results_.has_next(); }
  void forget_results() noexcept override { results_.clear(); }
  std::string function_name() const override { return name_of_call(function_); }

  F function_;
  ResultSlots<R> results_{ordered_};
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
      this->input_failed(std::current_exception());
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
      if (input_.error()) this->input_failed(input_.error());
      return Pulled::end;
    }
    this->template call_with<std::tuple<T>>(input_.take());
    return Pulled::item;
  }
  void stop_input() noexcept override { input_.stop(); }

  StreamAhead<T, ThreadStreamMap> input_;
};

template <class R, class F>
class ThreadMapSource final : public StreamSource<R> {
 public:
  explicit ThreadMapSource(IntrusivePtr<ThreadMap<R, F>> job) noexcept : job_(std::move(job)) {}
  ~ThreadMapSource() override { close(); }

  bool ready() override { return job_->ready(); }
  bool wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context) override {
    job_->consumer.wait(waiter, consumer, context);
    return true;
  }
  std::optional<Stored<R>> take() override { return job_->take_next(); }
  void close() noexcept override { job_->close(); }

 private:
  IntrusivePtr<ThreadMap<R, F>> job_;
};

}  // namespace cofork::detail
