// What comes back from the workers, and when the loop sleeps until it does.
#include <algorithm>
#include <cofork/executors/exception_codec.hpp>
#include <cofork/executors/parallelism.hpp>
#include <cofork/executors/pool_core.hpp>
#include <cofork/runtime/errors.hpp>
#include <utility>

namespace cofork::detail {

namespace {
// Results may wait for others this long before the loop looks for them unasked.
constexpr std::chrono::milliseconds nap_time{1};
// Memory that large messages left stays warm for the next one, this long.
constexpr std::chrono::seconds keep_warm{1};
// Calls shorter than this, in nanoseconds, are expected back before sleeping would be worth its cost.
constexpr double spin_below = 1e5;
// Someone who waits for results of a map is woken for each when they take longer than this, in nanoseconds.
constexpr double wake_for_each_above = 2e5;
}  // namespace

bool PoolCore::has_outstanding() const noexcept {
  return std::any_of(workers_.begin(), workers_.end(), [](const PoolWorker& worker) { return !worker.idle(); });
}

/// The loop asks this pool only while something is in flight.
void PoolCore::watch_outstanding() {
  Link<Poller>& link = *this;
  if (!has_outstanding()) {
    link.unlink();
    nap_.stop();
  } else if (!link.linked() && loop_) {
    loop_->pollers().push_back(*this);
  }
}

bool PoolCore::poll() {
  const IntrusivePtr<PoolCore> alive(this);
  bool any = false;
  for (PoolWorker& worker : workers_)
    if (!worker.idle()) drain_or_condemn(worker, any);
  if (!any) return false;
  schedule();
  watch_outstanding();
  complete_ended();
  return true;
}

void PoolCore::complete_ended() {
  while (!ended_.empty()) {
    std::vector<IntrusivePtr<Piece>> ended = std::move(ended_);
    ended_.clear();
    for (const IntrusivePtr<Piece>& piece : ended) piece->complete();
  }
}

void PoolCore::drain_or_condemn(PoolWorker& worker, bool& any) {
  try {
    any |= drain(worker);
  } catch (const DecodeError&) {
    if (!worker.condemned) condemn(worker, StopReason::none, {});
  }
}

bool PoolCore::drain(PoolWorker& worker) {
  const std::uint64_t passed = worker.sender.passed();
  bool any = false;
  for (ipc::TaskSender::Result result; worker.sender.next_result(result); any = true) take_result(worker, result);
  if (any) worker.sender.results_done();
  while (!worker.in_flight.empty() && worker.in_flight.front().frame < passed) {
    const InFlight& frame = worker.in_flight.front();
    if (frame.results < frame.limit) ipc::Reader::fail("a worker passed a frame without its results");
    worker.sender.release_frame();
    worker.in_flight.pop_front();
    any = true;
  }
  if (any && worker.sender.holds_idle_memory() && !tidy_.active()) {
    tidy_.start(Clock::now() + keep_warm, [](Timer& timer) noexcept {
      for (PoolWorker& owner : static_cast<PoolTimer&>(timer).core->workers_)
        if (owner.sender.holds_idle_memory()) owner.sender.give_back();
    });
  }
  return any;
}

void PoolCore::take_result(PoolWorker& worker, const ipc::TaskSender::Result& result) {
  InFlight* const frame = worker.current();
  if (!frame || static_cast<std::uint32_t>(frame->frame) != result.frame || frame->results != result.item)
    ipc::Reader::fail("a result that no task waits for");
  Piece& piece = *frame->piece;
  if (result.kind == ipc::ResultFrame::arguments_taken) {
    if (piece.limits.retries == 0) worker.sender.arguments_taken(frame->frame);
    return;
  }
  // It was told to stop, and that is how this item ends, although the worker came to an end of it by itself.
  if (worker.stop_reason != StopReason::none) return;
  const std::uint32_t item = frame->results++;
  worker.expected -= frame->expected_each;
  if (frame->results == frame->limit) piece.in_worker = nullptr;
  ended(frame->piece);
  piece.statistics->add(static_cast<double>(std::max<std::int64_t>(result.wall, 0)));
  ipc::Reader reader(result.message, const_cast<ipc::TaskSender::Result&>(result).descriptors);
  try {
    if (result.kind == ipc::ResultFrame::value) {
      piece.value(item, reader);
      ++stats_.completed;
    } else {
      piece.failed(item, decode_exception(reader));
      ++stats_.failed;
    }
  } catch (...) {
    piece.failed(item, std::current_exception());
    ++stats_.failed;
  }
}

// Sleeping.

bool PoolCore::worth_spinning() const {
  unsigned busy = 0;
  bool soon = false;
  for (const PoolWorker& worker : workers_) {
    if (worker.idle()) continue;
    ++busy;
    soon |= worker.in_flight.front().expected_each < spin_below;
  }
  return soon && busy < available_parallelism();
}

/// The number of results at which the worker rings.
std::uint64_t PoolCore::ring_at(PoolWorker& worker) const {
  const std::uint64_t read = worker.sender.results_read();
  if (worker.impatient) return read + 1;
  std::uint64_t in_flight = 0;
  for (const InFlight& frame : worker.in_flight) {
    const std::uint32_t left = frame.limit - frame.results;
    if (left == 0) continue;
    if (frame.piece->urgent() && (left == 1 || frame.expected_each > wake_for_each_above)) return read + in_flight + 1;
    in_flight += left;
  }
  // With more to send, at low water, so that the worker has something to do until it gets that.
  const bool more = std::any_of(queue_.begin(), queue_.end(), [](const auto& level) { return !level.second.empty(); });
  return read + std::max<std::uint64_t>(1, more ? in_flight - in_flight / 4 : in_flight);
}

bool PoolCore::prepare_to_sleep() {
  bool nothing_arrived = true;
  bool nap = false;
  for (PoolWorker& worker : workers_) {
    if (worker.idle()) continue;
    const std::uint64_t read = worker.sender.results_read();
    const std::uint64_t at = ring_at(worker);
    if (at > read + 1) nap = true;
    nothing_arrived &= worker.sender.sleep_until_result(at);
  }
  if (!nap || !nothing_arrived) return nothing_arrived;
  if (!nap_.active()) {
    for (PoolWorker& worker : workers_) worker.results_at_nap = worker.sender.results_read();
    nap_.start(Clock::now() + nap_time, [](Timer& timer) noexcept {
      PoolCore& core = *static_cast<PoolTimer&>(timer).core;
      for (PoolWorker& worker : core.workers_)
        worker.impatient = !worker.idle() && worker.results_at_nap == worker.sender.results_read();
    });
  }
  return true;
}

void PoolCore::awake() {
  for (PoolWorker& worker : workers_) worker.sender.awake();
}

}  // namespace cofork::detail
