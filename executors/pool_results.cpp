// What comes back from the workers, and when the loop sleeps until it does.
#include <algorithm>
#include <cofork/executors/exception_codec.hpp>
#include <cofork/executors/pool_core.hpp>
#include <cofork/runtime/errors.hpp>
#include <csignal>
#include <utility>

namespace cofork::detail {

namespace {
// Results may wait for others this long before the loop looks for them unasked.
constexpr std::chrono::milliseconds nap_time{1};
// After so many naps without a result what waits for a worker is taken back, even if nobody else has time for it now.
constexpr unsigned most_quiet_naps = 20;
// One that leaves after what it has, and has begun none of it, would leave with nothing done, and so would the next one
// if all are slow. But it may stand still for ever.
constexpr unsigned most_quiet_naps_before_leaving = 2000;
// Memory that large messages left stays warm for the next one, this long.
constexpr std::chrono::seconds keep_warm{1};
// Calls shorter than this, in nanoseconds, are expected back before sleeping would be worth its cost.
constexpr double spin_below = 1e5;
// What is done sooner than this, in nanoseconds, is back before the loop would be asleep, even if the two share a core.
constexpr double spin_always_below = 5e3;
// Someone who waits for results of a map is woken for each when they take longer than this, in nanoseconds.
constexpr double wake_for_each_above = 2e5;
}  // namespace

bool PoolCore::has_outstanding() const noexcept {
  return std::any_of(workers_.begin(), workers_.end(),
                     [](const PoolWorker& worker) { return !worker.in_flight.empty(); });
}

/// The loop asks this pool only while something is in flight.
void PoolCore::watch_outstanding() {
  Link<Poller>& link = *this;
  if (!has_outstanding()) {
    if (ended_.empty()) link.unlink();
    nap_.stop();
  } else if (!link.linked() && loop_) {
    loop_->pollers().push_back(*this);
  }
}

bool PoolCore::poll() {
  const IntrusivePtr<PoolCore> alive(this);
  bool any = false;
  for (PoolWorker& worker : workers_)
    if (!worker.in_flight.empty()) drain_or_condemn(worker, any);
  if (!any && ended_.empty()) {
    watch_outstanding();
    return false;
  }
  schedule();
  complete_ended();
  return true;
}

void PoolCore::complete_ended() {
  while (!ended_.empty()) {
    std::vector<IntrusivePtr<Piece>> ended = std::move(ended_);
    ended_.clear();
    for (const IntrusivePtr<Piece>& piece : ended) piece->complete();
    ended.clear();
    if (ended_.empty()) ended_.swap(ended);  // its memory
  }
}

void PoolCore::drain_or_condemn(PoolWorker& worker, bool& any) {
  try {
    any |= drain(worker);
  } catch (const DecodeError&) {
    if (worker.condemned) return;
    worker.broke_protocol = std::current_exception();
    condemn(worker, worker.stop_reason, {});
  }
}

bool PoolCore::drain(PoolWorker& worker) {
  if (worker.broke_protocol) return false;  // whatever else it gives until it is dead
  bool any = false;
  for (ipc::TaskSender::Result result; worker.sender.next_result(result); any = true) take_result(worker, result);
  const std::uint64_t passed = worker.sender.passed();
  for (; !worker.in_flight.empty() && worker.in_flight.front().frame < passed; any = true) {
    if (worker.in_flight.front().results < worker.in_flight.front().limit) break;  // to come at once
    worker.pop_frame();
  }
  if (any) worker.sender.results_done();
  if (any && max_rss_per_child_ != 0) retire_if_too_large(worker);
  if (any && idle_timeout_.count() != 0 && worker.idle()) worker_idles(worker);
  if (any && worker.sender.holds_idle_memory() && !tidy_.active()) {
    tidy_.start(Clock::now() + keep_warm, [](Timer& timer) noexcept {
      for (PoolWorker& owner : static_cast<PoolTimer&>(timer).core->workers_)
        if (owner.sender.holds_idle_memory()) owner.sender.give_back();
    });
  }
  return any;
}

/// As the worker says.
TaskUsage PoolCore::usage_of(const PoolWorker& worker, std::int64_t submitted_at, const ipc::ItemUsage& usage) const {
  const auto time = [](std::int64_t nanoseconds) {
    return std::chrono::nanoseconds(std::max<std::int64_t>(nanoseconds, 0));
  };
  TaskUsage used;
  used.pid = worker.pid_as_known();
  // It counts from the end of what it did before, unless it had to wait.
  const std::int64_t queued = std::max<std::int64_t>(usage.begun_at, 0) - submitted_at;
  used.queued = time(queued);
  used.wall = time(std::max<std::int64_t>(usage.wall, 0) + std::min<std::int64_t>(queued, 0));
  used.user = usage.user == usage.wall ? used.wall : time(usage.user);
  used.system = time(usage.system);
  used.max_rss = static_cast<std::size_t>(usage.max_rss);
  return used;
}

void PoolCore::take_result(PoolWorker& worker, const ipc::TaskSender::Result& result) {
  InFlight* const frame = worker.current();
  if (!frame || static_cast<std::uint16_t>(frame->frame) != result.frame || frame->results != result.item)
    ipc::Reader::fail("a result that no task waits for");
  Piece& piece = *frame->piece;
  if (result.kind == ipc::ResultFrame::arguments_taken) {
    if (piece.limits.retries == 0) worker.sender.arguments_taken(frame->frame);
    return;
  }
  const bool stopped = worker.stop_reason != StopReason::none;
  // It was told to stop, and that is how this item ends, although the worker came to an end of it by itself. A
  // coroutine was only asked to: its worker goes on.
  if (stopped && (worker.condemned || !piece.is_coroutine)) return signal(worker, SIGKILL);
  ipc::Reader reader(result.message, const_cast<ipc::TaskSender::Result&>(result).descriptors);
  if (result.kind == ipc::ResultFrame::streamed) {
    worker.quiet_naps = 0;
    if (stopped)
      worker.sender.values_taken(1, result.message.size());
    else
      piece.streamed(reader);
    return;
  }
  if (!worker.proven && result.kind == ipc::ResultFrame::value) worker_proven(worker);
  const std::uint32_t item = frame->results++;
  if (observer_) observer_->received(worker, *frame, item, result);
  worker.quiet_naps = 0;
  worker.expected -= frame->expected_each;
  if (frame->results == frame->limit) piece.in_worker = nullptr;
  ended(frame->piece);
  if (piece.submitted_at != 0) piece.used(item, usage_of(worker, piece.submitted_at, result.usage));
  if (stopped) return end_stop(worker, piece, item);
  if (piece.has_known_time()) piece.statistics->add(static_cast<double>(std::max<std::int64_t>(result.usage.wall, 0)));
  try {
    if (result.kind == ipc::ResultFrame::value) {
      piece.value(item, reader);
      if (piece.belongs_to_worker()) return;
      ++stats_.completed;
      brake_.success();
      return;
    }
    piece.failed(item, decode_exception(reader, worker.pid_as_known(), piece.name()));
  } catch (...) {
    piece.failed(item, std::current_exception());
  }
  if (!piece.belongs_to_worker()) ++stats_.failed;
}

// Sleeping.

bool PoolCore::worth_spinning() const {
  unsigned busy = 0;
  bool soon = false;
  for (const PoolWorker& worker : workers_) {
    const InFlight* const frame = worker.current();
    if (!frame) continue;
    if (worker.expected < spin_always_below) return true;
    ++busy;
    soon |= frame->expected_each < spin_below;
  }
  return soon && busy < parallelism_;
}

/// The number of results at which the worker rings.
std::uint64_t PoolCore::ring_at(PoolWorker& worker) const {
  const std::uint64_t read = worker.sender.results_read();
  if (worker.quiet_naps > 0) return read + 1;
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
  bool nothing_arrived = ended_.empty();
  bool nap = false;
  for (PoolWorker& worker : workers_) {
    // Of one that broke the protocol nothing is waited for but its end.
    if (worker.in_flight.empty() || worker.broke_protocol) continue;
    const std::uint64_t read = worker.sender.results_read();
    const std::uint64_t at = ring_at(worker);
    if (at > read + 1) nap = true;
    nothing_arrived &= worker.sender.sleep_until_result(at);
  }
  if (nap && nothing_arrived) start_nap();
  return nothing_arrived;
}

void PoolCore::start_nap() {
  if (nap_.active()) return;
  for (PoolWorker& worker : workers_)
    worker.results_at_nap = worker.idle() ? PoolWorker::no_nap : worker.sender.results_read();
  nap_.start(Clock::now() + nap_time, [](Timer& timer) noexcept { static_cast<PoolTimer&>(timer).core->end_nap(); });
}

/// Looks for results that nobody rang for, and takes tasks away from behind one that takes long.
void PoolCore::end_nap() {
  const IntrusivePtr<PoolCore> alive(this);
  bool another = false;
  for (PoolWorker& worker : workers_) {
    if (worker.idle()) continue;
    bool any = false;
    drain_or_condemn(worker, any);
    if (worker.condemned || worker.results_at_nap == PoolWorker::no_nap) continue;
    if (worker.results_at_nap == worker.sender.results_read()) ++worker.quiet_naps;
  }
  const bool helper = can_start_worker() || std::any_of(workers_.begin(), workers_.end(),
                                                        [](const PoolWorker& worker) { return worker.at_hand(); });
  for (PoolWorker& worker : workers_) {
    if (worker.condemned || !worker.has_more()) continue;
    // As long as its initializer runs, another worker would have to wait for its own.
    if (!worker.proven) continue;
    const bool executing = worker.executing();
    const unsigned most = worker.retiring && !executing ? most_quiet_naps_before_leaving : most_quiet_naps;
    if (worker.quiet_naps >= most || (worker.quiet_naps > 0 && helper && executing))
      take_back_all(worker);
    else
      another = true;
  }
  if (another) start_nap();
  schedule();
  watch_outstanding();
  complete_ended();
}

void PoolCore::awake() {
  for (PoolWorker& worker : workers_) worker.sender.awake();
}

}  // namespace cofork::detail
