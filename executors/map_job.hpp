// A map over a process pool: pulls its input as there is room, and packs it into chunks.
#pragma once

#include <cofork/executors/callable.hpp>
#include <cofork/executors/map_progress.hpp>
#include <cofork/executors/pool_core.hpp>
#include <cofork/executors/work.hpp>
#include <cstdint>
#include <exception>
#include <string>
#include <type_traits>
#include <utility>

namespace cofork::detail {

class MapChunk;

/// What does not depend on the types of the map.
class MapJobBase : public MapProgress, public QueueEntry {
 public:
  void add_reference() noexcept override { RefCounted::add_reference(); }
  void drop_reference() noexcept override { RefCounted::drop_reference(); }

  /// Begins to send; the deadline counts from here.
  void start();
  void taken() override;

  Filled fill(ipc::TaskSender::Message& message, std::uint32_t items) override;
  bool more() noexcept override;
  void drop(const std::exception_ptr& error) noexcept override { pool_ends(error); }
  const FunctionStatistics& expectation() const noexcept override { return statistics_; }
  std::size_t pending() const noexcept override { return 0; }

 protected:
  MapJobBase(IntrusivePtr<PoolCore> core, const MapOptions& options, ipc::TaskSender::Function function,
             std::uint64_t function_key);
  ~MapJobBase() override = default;

  /// Writes the next item of the input. Throws what its encoding throws; an exception of the input itself ends it, by
  /// `fail_last`.
  virtual Pulled pull(ipc::Writer& writer) = 0;
  void pull_more() noexcept override;
  std::size_t room() const noexcept;
  std::size_t chunk_size() const noexcept;

  virtual void store_value(std::uint64_t index, ipc::Reader& reader) = 0;
  virtual std::string function_name() const = 0;

  bool is_coroutine_ = false;  // what is called

 private:
  friend class MapChunk;
  void stop_items() noexcept override;
  std::size_t buffer_size() const noexcept;

  IntrusivePtr<PoolCore> core_;
  FunctionStatistics& statistics_;
  const ipc::TaskSender::Function function_;
  const std::size_t chunksize_;
  const TaskLimits limits_;
  List<MapChunk> chunks_;
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

/// With results of type `R`, which are decoded.
template <class R>
class MapJob : public MapResults<R, MapJobBase> {
 protected:
  using MapResults<R, MapJobBase>::MapResults;

  void store_value(std::uint64_t index, ipc::Reader& reader) override {
    if constexpr (std::is_void_v<R>) {
      reader.finish();
      this->slot(index).set_value();
    } else {
      R value = ipc::decode<R>(reader);
      reader.finish();
      this->slot(index).set_value(std::move(value));
    }
  }
};

}  // namespace cofork::detail
