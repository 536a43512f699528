// What a worker was sent is taken back from it; what it executes is stopped.
#include <algorithm>
#include <cofork/executors/exception_origin.hpp>
#include <cofork/executors/parcel.hpp>
#include <cofork/executors/pool_core.hpp>
#include <cofork/runtime/errors.hpp>
#include <csignal>
#include <cstdio>
#include <utility>

namespace cofork::detail {

// Taking back.

void PoolCore::take_back_items(PoolWorker& worker, InFlight& frame, std::uint32_t keep) {
  if (frame.piece->belongs_to_worker()) return;
  const std::uint32_t before = frame.limit;
  const std::uint32_t after = worker.sender.take_back(frame.frame, std::max(keep, frame.results));
  if (after == before) return;
  frame.limit = after;
  worker.expected -= frame.expected_each * (before - after);
  worker.tasks_sent -= before - after;
  const IntrusivePtr<Piece> piece = frame.piece;
  if (after == frame.results) piece->in_worker = nullptr;
  if (after == 0) frame.piece = {};
  queue_again(piece->split(after, before - after), worker.sender.sent(frame.frame), after, before - after);
  if (after == 0) worker.sender.arguments_taken(frame.frame);
}

void PoolCore::queue_again(const IntrusivePtr<Piece>& piece, const ipc::TaskSender::Sent& sent, std::uint32_t first,
                           std::uint32_t count) {
  if (observer_) observer_->queued(*piece, count);
  try {
    push_front(*make_intrusive<Parcel>(*this, piece, sent, first, count));
  } catch (...) {
    // No memory, or no descriptor, is left for it.
    for (std::uint32_t item = 0; item < count; ++item) {
      piece->failed(item, std::current_exception());
      ended(piece);
    }
  }
}

void PoolCore::take_back_all(PoolWorker& worker, bool keep_next) {
  const InFlight* const next = keep_next ? worker.current() : nullptr;
  // From the last to the first, so that the first is at the front of the queue in the end.
  for (auto frame = worker.in_flight.rbegin(); frame != worker.in_flight.rend(); ++frame)
    if (frame->results < frame->limit) take_back_items(worker, *frame, frame->results + (&*frame == next ? 1 : 0));
}

// Stopping.

void PoolCore::signal(PoolWorker& worker, int signo) {
  if (observer_) observer_->signalled(worker, signo);
  if (worker.pid == 0)
    worker.signal_when_started = signo;
  else if (server_)
    server_->signal(worker.id, signo);
}

void PoolCore::condemn(PoolWorker& worker, StopReason reason, std::chrono::nanoseconds grace) {
  worker.condemned = true;
  worker.stop_reason = reason;
  worker.deadline.stop();
  // Whoever breaks the protocol may also deny that it has begun something: that ends with it.
  take_back_all(worker, worker.broke_protocol != nullptr);
  if (grace.count() <= 0) {
    signal(worker, SIGKILL);
    return;
  }
  signal(worker, SIGTERM);
  worker.grace.start(deadline_after(grace), &PoolCore::grace_over);
}

void PoolCore::grace_over(Timer& timer) noexcept {
  PoolWorker& doomed = *static_cast<PoolWorker::WorkerTimer&>(timer).worker;
  // One that was told to leave has nothing to do any more: it does not die, the pool ends it.
  if (doomed.stop_reason == StopReason::none) doomed.stop_reason = StopReason::cancelled;
  doomed.core.signal(doomed, SIGKILL);
}

/// A coroutine is asked to end. Its worker goes on if it does within the grace.
void PoolCore::ask_to_stop(PoolWorker& worker, StopReason reason, std::chrono::nanoseconds grace) {
  const InFlight& frame = *worker.current();
  worker.stop_reason = reason;
  worker.deadline.stop();
  worker.deadline_at = Clock::time_point::max();
  worker.sender.request_stop(frame.frame, frame.results);
  worker.grace.start(deadline_after(grace), [](Timer& timer) noexcept {
    PoolWorker& late = *static_cast<PoolWorker::WorkerTimer&>(timer).worker;
    const IntrusivePtr<PoolCore> core(&late.core);
    bool any = false;
    core->drain_or_condemn(late, any);
    if (late.stop_reason != StopReason::none && !late.condemned) core->condemn(late, late.stop_reason, {});
    core->schedule();
    core->complete_ended();
  });
}

/// The coroutine that was asked to end has ended.
void PoolCore::end_stop(PoolWorker& worker, Piece& piece, std::uint32_t item) {
  end_stopped_item(worker, piece, item, std::exchange(worker.stop_reason, StopReason::none));
  worker.grace.stop();
  watch_deadline(worker);
}

void PoolCore::end_stopped_item(const PoolWorker& worker, Piece& piece, std::uint32_t item, StopReason reason) {
  if (reason == StopReason::cancelled) {
    piece.cancelled(item);
    ++stats_.cancelled;
    return;
  }
  const double seconds = std::chrono::duration<double>(piece.limits.timeout).count();
  char text[160];
  std::snprintf(text, sizeof text, "%.100s exceeded its timeout of %g s", piece.name().c_str(), seconds);
  piece.failed(item, make_exception_from(TimeoutError(text), {worker.pid, piece.name(), {}}));
  ++stats_.failed;
}

void PoolCore::watch_deadline(PoolWorker& worker) {
  // The earliest that the deadline of anything in flight can be: what it really is depends on when that was begun.
  std::chrono::nanoseconds left = std::chrono::nanoseconds::max();
  const InFlight* current = worker.current();
  for (const InFlight& frame : worker.in_flight) {
    if (!frame.piece || frame.results == frame.limit || frame.piece->limits.timeout.count() == 0) continue;
    std::chrono::nanoseconds until = frame.piece->limits.timeout;
    if (&frame == current && worker.executing()) {
      const std::int64_t now = Clock::now().time_since_epoch().count();
      until -= std::chrono::nanoseconds(now - worker.begun_at(now));
    }
    left = std::min(left, until);
  }
  if (left == std::chrono::nanoseconds::max()) return;
  worker.deadline_at = deadline_after(std::max(left, std::chrono::nanoseconds(0)));
  worker.deadline.start(worker.deadline_at, [](Timer& timer) noexcept {
    PoolWorker& late = *static_cast<PoolWorker::WorkerTimer&>(timer).worker;
    late.core.deadline_passed(late);
  });
}

void PoolCore::deadline_passed(PoolWorker& worker) {
  const IntrusivePtr<PoolCore> alive(this);
  worker.deadline_at = Clock::time_point::max();
  bool any = false;
  drain_or_condemn(worker, any);
  const InFlight* frame = worker.current();
  if (!worker.condemned && frame) {
    const std::chrono::nanoseconds timeout = frame->piece->limits.timeout;
    const std::int64_t now = Clock::now().time_since_epoch().count();
    if (timeout.count() == 0 || !worker.executing() || now - worker.begun_at(now) < timeout.count())
      watch_deadline(worker);
    else if (worker.pid == 0 && server_ && server_->has_news())
      watch_deadline(worker);  // this loop is late to hear of its start, and perhaps of its end
    else if (!server_ || !server_->worker_has_ended(worker.id))  // of what it died of, this loop is only late to hear
      stop(*frame->piece, StopReason::timeout);
  }
  schedule();
  complete_ended();
}

}  // namespace cofork::detail
