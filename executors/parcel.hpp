// Items that were taken back from a worker, encoded as they are, to be sent to another one.
#pragma once

#include <cofork/executors/work.hpp>
#include <cofork/ipc/writer.hpp>

namespace cofork::detail {

class PoolCore;

class Parcel final : public RefCounted, public QueueEntry {
 public:
  /// `count` items of the frame that `sent` describes, from its `first` on, for `piece`.
  Parcel(PoolCore& core, IntrusivePtr<Piece> piece, const ipc::TaskSender::Sent& sent, std::uint32_t first,
         std::uint32_t count);

  void add_reference() noexcept override { RefCounted::add_reference(); }
  void drop_reference() noexcept override { RefCounted::drop_reference(); }

  Filled fill(ipc::TaskSender::Message& message, std::uint32_t items) override;
  void drop(const std::exception_ptr& error) noexcept override;
  const FunctionStatistics& expectation() const noexcept override { return *statistics_; }
  bool needs_own_worker() const noexcept override { return flags_ & ipc::TaskFrame::limited; }
  std::size_t pending() const noexcept override { return count_; }

 private:
  void forget() noexcept {
    if (piece_ && piece_->parcel == this) piece_->parcel = nullptr;
  }

  PoolCore& core_;
  IntrusivePtr<Piece> piece_;
  const FunctionStatistics* statistics_;
  ipc::TaskSender::Function function_;
  std::uint32_t flags_, first_offset_, count_;
  ipc::BufferWriter message_;
};

}  // namespace cofork::detail
