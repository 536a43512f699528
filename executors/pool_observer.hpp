// Who is told what a pool does with its tasks and workers, as it happens.
#pragma once

#include <cofork/executors/pool_worker.hpp>
#include <cofork/executors/work.hpp>
#include <cofork/ipc/task_sender.hpp>
#include <cstdint>

namespace cofork::detail {

struct WorkerExit;

/// Called by the scheduler in the middle of its work: from here nothing of the pool may be called.
class PoolObserver {
 public:
  virtual ~PoolObserver() = default;

  // Tasks.

  /// Submitted, or back in the queue because a worker will not execute it after all.
  virtual void queued(Piece& piece, std::uint32_t items) noexcept = 0;
  /// Items of the piece, from its `first` on, will not be executed.
  virtual void cancelled(const Piece& piece, std::uint32_t first, std::uint32_t items) noexcept = 0;
  /// About to be sent: from then on the worker may be at them.
  virtual void sent(PoolWorker& worker, Piece& piece, std::uint32_t items) noexcept = 0;
  /// The result of an item, which is counted in `frame.results` already.
  virtual void received(PoolWorker& worker, const InFlight& frame, std::uint32_t item,
                        const ipc::TaskSender::Result& result) noexcept = 0;
  /// An item's worker has ended before the item did.
  virtual void lost(PoolWorker& worker, const InFlight& frame, std::uint32_t item) noexcept = 0;

  // Workers.

  virtual void forking(PoolWorker& worker) noexcept = 0;
  virtual void started(PoolWorker& worker) noexcept = 0;
  virtual void signalled(PoolWorker& worker, int signal) noexcept = 0;
  /// `exit` is null if how it ended is not known. Everything of it was received or lost before.
  virtual void ended(PoolWorker& worker, const WorkerExit* exit) noexcept = 0;
};

}  // namespace cofork::detail
