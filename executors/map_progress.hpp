// What maps share, wherever their items are executed: how far they have come, their deadline, their results.
#pragma once

#include <cofork/executors/options.hpp>
#include <cofork/executors/result_slots.hpp>
#include <cofork/executors/work.hpp>
#include <cofork/runtime/stream.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <cstdint>
#include <exception>
#include <optional>
#include <utility>

namespace cofork::detail {

class MapProgress : public RefCounted, private OpenInput {
 public:
  void close() noexcept;
  bool ready() const { return has_next() || ended() || (expired_ && !closed_); }
  /// Before the next result is taken: throws if there is none because the map's time is over; false at the end.
  bool check_next();
  /// After it was taken.
  virtual void taken() = 0;
  /// Nothing is left to take, or it is closed.
  bool ended() const noexcept { return closed_ || (input_ended_ && !cut_off_ && taken_ == pulled_); }
  /// How many results are still to be taken, if that is known.
  std::optional<std::uint64_t> expected() const;
  StreamConsumer consumer;

 protected:
  explicit MapProgress(const MapOptions& options);

  /// The deadline counts from here, and the executor whose list of inputs this is tells of its end.
  void begin(List<OpenInput>& inputs);

  enum class Pulled { item, later, end };
  /// There is room for more of the input, or an asynchronous input has more: `pull` takes it when it can be used.
  virtual void pull_more() noexcept = 0;
  /// How many items are left in the input, if that is known.
  virtual std::optional<std::uint64_t> left() const { return std::nullopt; }
  virtual void stop_input() noexcept {}
  /// Nothing further is pulled.
  void end_input() noexcept;
  /// What was pulled and has not ended is cancelled.
  virtual void stop_items() noexcept = 0;

  virtual void expect_item() = 0;
  virtual void store_error(std::uint64_t index, std::exception_ptr error) = 0;
  virtual bool has_next() const = 0;
  virtual void forget_results() noexcept = 0;

  /// Whether a result of this index is still to be taken.
  bool wanted(std::uint64_t index) const noexcept { return !closed_ && (!ordered_ || index >= taken_); }
  void stored() noexcept {
    if (has_next()) consumer.wake();
  }
  void fail_item(std::uint64_t index, std::exception_ptr error) noexcept;
  /// The next item of the input is the first that fails, and the last.
  void fail_last(std::exception_ptr error) noexcept;
  void pool_ends(const std::exception_ptr& error) noexcept override;

  const bool ordered_;
  const std::size_t buffersize_;
  std::uint64_t pulled_ = 0;  // items taken from the input
  std::uint64_t taken_ = 0;   // results taken by the consumer
  bool input_ended_ = false;
  bool unbounded_ = false;  // the pool closes: all that is left is executed
  bool closed_ = false;
  bool expired_ = false;
  bool cut_off_ = false;  // by that: there is more in the input

 private:
  void pool_closes() noexcept override;
  void expire() noexcept;

  const std::chrono::nanoseconds timeout_;
  struct Deadline : Timer {
    MapProgress* map = nullptr;
  };
  Deadline deadline_;
};

/// A map whose results are of type `R`.
template <class R, class Map>
class MapResults : public Map {
 public:
  std::optional<Stored<R>> take_next() {
    if (!this->check_next()) return std::nullopt;
    std::exception_ptr error;
    std::optional<Stored<R>> value = results_.take_next(error);
    this->taken();
    if (error) std::rethrow_exception(error);
    return value;
  }

 protected:
  using Map::Map;

  Outcome<R>& slot(std::uint64_t index) { return results_.slot(index, this->taken_); }

 private:
  void expect_item() override { results_.expect_item(); }
  void store_error(std::uint64_t index, std::exception_ptr error) override { slot(index).set_error(std::move(error)); }
  bool has_next() const override { return results_.has_next(); }
  void forget_results() noexcept override { results_.clear(); }

  ResultSlots<R> results_{this->ordered_};
};

template <class R, class Map>
class MapStream final : public StreamSource<R> {
 public:
  explicit MapStream(IntrusivePtr<Map> map) noexcept : map_(std::move(map)) {}
  ~MapStream() override { close(); }

  bool ready() override { return map_->ready(); }
  bool wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context) override {
    map_->consumer.wait(waiter, consumer, context);
    return true;
  }
  std::optional<Stored<R>> take() override { return map_->take_next(); }
  void close() noexcept override {
    if (map_->consumer.is_here()) map_->close();
  }
  std::optional<std::uint64_t> expected() const override { return map_->expected(); }

 private:
  IntrusivePtr<Map> map_;
};

}  // namespace cofork::detail
