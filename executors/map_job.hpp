// A map over a process pool: pulls its input as there is room, packs it into chunks, and keeps the results until they
// are taken.
#pragma once

#include <cofork/executors/callable.hpp>
#include <cofork/executors/pool_core.hpp>
#include <cofork/executors/result_slots.hpp>
#include <cofork/executors/work.hpp>
#include <cofork/runtime/outcome.hpp>
#include <cofork/runtime/stream.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace cofork::detail {

class MapChunk;

/// What does not depend on the types of the map.
class MapJobBase : public RefCounted, public QueueEntry, private OpenInput {
 public:
  void add_reference() noexcept override { RefCounted::add_reference(); }
  void drop_reference() noexcept override { RefCounted::drop_reference(); }

  /// Begins to send; the deadline counts from here.
  void start();
  void close() noexcept;
  bool ready() const { return has_next() || at_end() || (expired_ && !closed_); }
  /// Before `take_next`: throws if there is no next item because the map's time is over; false at the end.
  bool check_next();
  /// After `take_next`.
  void taken();
  /// Nothing is left to take, or it is closed.
  bool ended() const noexcept { return at_end(); }
  /// How many results are still to be taken, if that is known.
  std::optional<std::uint64_t> expected() const;
  StreamConsumer consumer;

  Filled fill(ipc::TaskSender::Message& message, std::uint32_t items) override;
  bool more() noexcept override;
  void drop(const std::exception_ptr& error) noexcept override;
  const FunctionStatistics& expectation() const noexcept override { return statistics_; }
  std::size_t pending() const noexcept override { return 0; }

 protected:
  MapJobBase(IntrusivePtr<PoolCore> core, const MapOptions& options, ipc::TaskSender::Function function,
             std::uint64_t function_key);
  ~MapJobBase() override = default;

  enum class Pulled { item, later, end };
  /// Writes the next item of the input. Throws what its encoding throws; an exception of the input itself ends it, by
  /// `input_failed`.
  virtual Pulled pull(ipc::Writer& writer) = 0;
  void input_failed(std::exception_ptr error);
  /// How many items are left in the input, if that is known.
  virtual std::optional<std::uint64_t> left() const { return std::nullopt; }
  /// An asynchronous input has more now.
  void input_arrived();
  virtual void stop_input() noexcept {}
  std::size_t room() const noexcept;
  std::size_t chunk_size() const noexcept;

  virtual void expect_item() = 0;
  virtual void store_value(std::uint64_t index, ipc::Reader& reader) = 0;
  virtual void store_error(std::uint64_t index, std::exception_ptr error) = 0;
  virtual bool has_next() const = 0;
  virtual void forget_results() noexcept = 0;
  virtual std::string function_name() const = 0;

  const bool ordered_;
  bool is_coroutine_ = false;  // what is called
  std::uint64_t taken_ = 0;    // results taken by the consumer

 private:
  friend class MapChunk;
  bool queued() const noexcept { return QueueEntry::linked(); }
  void pool_closes() noexcept override;
  void pool_ends(const std::exception_ptr& error) noexcept override { drop(error); }
  void end_input() noexcept;
  void fail_item(std::uint64_t index, std::exception_ptr error) noexcept;
  bool at_end() const noexcept { return closed_ || (input_ended_ && !cut_off_ && taken_ == pulled_); }
  void stop_chunks() noexcept;
  void expire() noexcept;
  std::size_t buffer_size() const noexcept;

  IntrusivePtr<PoolCore> core_;
  FunctionStatistics& statistics_;
  const ipc::TaskSender::Function function_;
  const std::size_t chunksize_, buffersize_;
  const std::chrono::nanoseconds timeout_;
  const TaskLimits limits_;
  std::uint64_t pulled_ = 0;  // items taken from the input
  std::exception_ptr input_error_;
  bool input_ended_ = false;
  bool unbounded_ = false;  // the pool closes: all that is left is sent
  bool closed_ = false;
  bool expired_ = false;
  bool cut_off_ = false;  // by that: there is more in the input
  List<MapChunk> chunks_;
  struct Deadline : Timer {
    MapJobBase* job = nullptr;
  };
  Deadline deadline_;
};

/// Some consecutive items of a map.
class MapChunk final : public RefCounted, public Piece, public Link<MapChunk> {
 public:
  MapChunk(IntrusivePtr<MapJobBase> job, std::uint64_t first, std::uint32_t count, const TaskLimits& task_limits);

  void add_reference() noexcept override { RefCounted::add_reference(); }
  void drop_reference() noexcept override { RefCounted::drop_reference(); }

  void value(std::uint32_t item, ipc::Reader& result) override;
  void failed(std::uint32_t item, std::exception_ptr error) noexcept override;
  void cancelled(std::uint32_t item) noexcept override;
  bool urgent() const noexcept override;
  std::string name() const override;
  IntrusivePtr<Piece> split(std::uint32_t first, std::uint32_t count) override;

 private:
  IntrusivePtr<MapJobBase> job_;
  std::uint64_t first_;
  std::uint32_t count_;
};

/// With the results of type `R`.
template <class R>
class MapResults : public MapJobBase {
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
  using MapJobBase::MapJobBase;

  void expect_item() override { results_.expect_item(); }
  void store_value(std::uint64_t index, ipc::Reader& reader) override {
    if constexpr (std::is_void_v<R>) {
      reader.finish();
      slot(index).set_value();
    } else {
      R value = ipc::decode<R>(reader);
      reader.finish();
      slot(index).set_value(std::move(value));
    }
  }
  void store_error(std::uint64_t index, std::exception_ptr error) override { slot(index).set_error(std::move(error)); }
  bool has_next() const override { return results_.has_next(); }
  void forget_results() noexcept override { results_.clear(); }

 private:
  Outcome<R>& slot(std::uint64_t index) { return results_.slot(index, taken_); }

  ResultSlots<R> results_{ordered_};
};

template <class R>
class MapStream final : public StreamSource<R> {
 public:
  explicit MapStream(IntrusivePtr<MapResults<R>> job) noexcept : job_(std::move(job)) {}
  ~MapStream() override { close(); }

  bool ready() override { return job_->ready(); }
  bool wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context) override {
    job_->consumer.wait(waiter, consumer, context);
    return true;
  }
  std::optional<Stored<R>> take() override { return job_->take_next(); }
  void close() noexcept override { job_->close(); }
  std::optional<std::uint64_t> expected() const override { return job_->expected(); }

 private:
  IntrusivePtr<MapResults<R>> job_;
};

}  // namespace cofork::detail
