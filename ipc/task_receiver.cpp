#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cofork/ipc/descriptor_passing.hpp>
#include <cofork/ipc/futex.hpp>
#include <cofork/ipc/large_memory.hpp>
#include <cofork/ipc/prefetch.hpp>
#include <cofork/ipc/task_receiver.hpp>
#include <cstring>
#include <system_error>
#include <utility>

namespace cofork::ipc {

namespace {

constexpr std::size_t least_room = 1024;  // for a result, so that short ones do not land in the arena
constexpr std::size_t header = sizeof(ResultFrame);
constexpr std::chrono::microseconds spin_time{20};
// Tasks leave memory behind that stays warm for the next one, this long.
constexpr std::chrono::seconds keep_warm{1};

void wait_for_socket(int socket, short events) {
  pollfd poll{socket, events, 0};
  while (::poll(&poll, 1, -1) < 0)
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "poll");
}

}  // namespace

TaskReceiver::TaskReceiver(std::span<const int> descriptors)
    : task_file_(Descriptor(descriptors[0])),
      result_file_(Descriptor(descriptors[1])),
      doorbell_(descriptors[2]),
      socket_(descriptors[3]),
      loop_bell_(descriptors[4]),
      tasks_(task_file_.descriptor(), task_file_.size(), Mapping::Access::read),
      results_(result_file_.descriptor(), result_file_.size()),
      arena_(result_file_, results_, ResultFileLayout::arena),
      message_(arena_, results_) {
  worker().pid.store(::getpid(), std::memory_order_relaxed);
}

template <class F>
std::int64_t TaskReceiver::wait(F&& over) {
  using Clock = std::chrono::steady_clock;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  ring(true);
  auto now = Clock::now();
  for (const auto end = now + spin_time; now < end;) {
    ::sched_yield();
    now = Clock::now();
    if (over()) return now.time_since_epoch().count();
  }
  std::optional<std::chrono::nanoseconds> timeout;
  if (warm_) timeout = keep_warm;
  for (std::atomic<std::uint32_t>& asleep = worker().asleep;;) {
    asleep.store(asleep_on_futex, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (over()) {
      asleep.store(not_asleep, std::memory_order_relaxed);
      return Clock::now().time_since_epoch().count();
    }
    ring(true);
    const auto before = Clock::now();
    futex_wait(asleep, asleep_on_futex, timeout);
    if (timeout && Clock::now() - before >= *timeout && asleep.load(std::memory_order_relaxed) == asleep_on_futex) {
      give_back();
      timeout.reset();
    }
  }
}

/// Memory that the latest tasks left goes back to the system.
void TaskReceiver::give_back() {
  free_read_results();
  if (arena_.empty() && arena_.holds_memory()) arena_.give_back();
  return_freed_memory();
  warm_ = false;
}

/// Rings if the parent sleeps and has not heard this worker since; when it wanted to be woken, or, if there is anything
/// that it does not know, `now`.
void TaskReceiver::ring(bool now) {
  const std::uint64_t sleep = parent().sleep.load(std::memory_order_acquire);  // `ring_at` is of this sleep then
  if (sleep == 0 || sleep == rung_for_) return;
  if (!now && results_published_ < parent().ring_at.load(std::memory_order_relaxed)) return;
  if (result_bytes_ == parent().result_bytes_read.load(std::memory_order_relaxed) &&
      passed_ == parent().frames_released.load(std::memory_order_relaxed))
    return;
  rung_for_ = sleep;
  const std::uint64_t one = 1;
  while (::write(doorbell_.get(), &one, sizeof one) < 0)
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "ringing the doorbell of the pool");
}

std::optional<TaskReceiver::Frame> TaskReceiver::next_frame() {
  const auto published = [this] {
    if (frames_published_ == next_frame_) {
      // What is published is looked at next.
      __builtin_prefetch(tasks_.data() + TaskFileLayout::ring + ring_position_);
      frames_published_ = parent().frames.load(std::memory_order_acquire);
    }
    return frames_published_ != next_frame_;
  };
  waited_until_ = 0;
  if (!published()) {
    bool leave = false;
    waited_until_ = wait([&] {
      // In this order: what was published before the parent told to leave is done first.
      leave = parent().leave.load(std::memory_order_acquire) != 0;
      return published() || leave;
    });
    if (leave && !published()) return std::nullopt;
  }
  const auto at = [this] {
    return reinterpret_cast<const TaskFrame*>(tasks_.data() + TaskFileLayout::ring + ring_position_);
  };
  if (at()->flags & TaskFrame::wrap) ring_position_ = 0;
  Frame frame{*at(), next_frame_, {}, {}};
  const auto size = static_cast<std::size_t>(frame.header.message_size);
  if (frame.header.flags & TaskFrame::in_arena) {
    const auto offset = static_cast<std::size_t>(frame.header.arena_offset);
    if (offset + size > tasks_.size()) tasks_.resize(task_file_.size());
    frame.message = {tasks_.data() + offset, size};
    ring_position_ += sizeof(TaskFrame);
  } else {
    frame.message = {tasks_.data() + TaskFileLayout::ring + ring_position_ + sizeof(TaskFrame), size};
    ring_position_ += sizeof(TaskFrame) + round_up(size, 64);
  }
  ring_position_ %= task_ring_bytes;
  ++next_frame_;
  warm_ = true;
  if (frame.header.descriptors != 0) receive_descriptors(frame);
  return frame;
}

void TaskReceiver::receive_descriptors(Frame& frame) {
  for (;;) {
    std::uint64_t sequence;
    ReceivedDescriptors received;
    const Transfer transfer =
        receive_with_descriptors(socket_.get(), std::as_writable_bytes(std::span(&sequence, 1)), received);
    if (transfer.outcome == Transfer::Outcome::would_block) {
      wait_for_socket(socket_.get(), POLLIN);
      continue;
    }
    if (transfer.outcome == Transfer::Outcome::closed || sequence > frame.sequence) return;
    if (sequence == frame.sequence) {
      frame.descriptors = std::move(received.descriptors);
      return;
    }
  }
}

std::optional<std::uint32_t> TaskReceiver::claim(const Frame& frame, std::int64_t now) noexcept {
  Claim& claim = reinterpret_cast<Claim*>(results_.data() + ResultFileLayout::claims)[frame.sequence % max_frames];
  std::uint64_t seen = claim.word.load(std::memory_order_acquire);
  for (;;) {
    const auto [next, limit] = Claim::unpack(seen, frame.sequence, frame.header.items);
    if (next >= limit) return std::nullopt;
    claim.begun_at.store(now, std::memory_order_relaxed);
    const std::uint64_t begun = Claim::pack(frame.sequence, {next + 1, limit});
    if (claim.word.compare_exchange_weak(seen, begun, std::memory_order_acq_rel)) return next;
  }
}

void TaskReceiver::pass(const Frame& frame) noexcept {
  passed_ = frame.sequence + 1;
  worker().frames_passed.store(passed_, std::memory_order_release);
}

void TaskReceiver::free_read_results() {
  const std::uint64_t read = parent().results_read.load(std::memory_order_acquire);
  while (!blocks_.empty() && blocks_.front().result < read) {
    arena_.free(blocks_.front().offset);
    blocks_.pop_front();
  }
}

TaskReceiver::Message& TaskReceiver::begin_result() {
  free_read_results();
  const auto free = [this] {
    return result_ring_bytes -
           static_cast<std::size_t>(result_bytes_ - parent().result_bytes_read.load(std::memory_order_acquire));
  };
  std::size_t to_end = result_ring_bytes - static_cast<std::size_t>(result_bytes_ % result_ring_bytes);
  if (to_end < least_room) {
    if (free() < to_end + least_room) wait([&] { return free() >= to_end + least_room; });
    if (to_end >= header) {
      auto* wrap =
          reinterpret_cast<ResultFrame*>(results_.data() + ResultFileLayout::ring + (result_ring_bytes - to_end));
      wrap->kind = ResultFrame::wrap;
    }
    result_bytes_ += to_end;
    to_end = result_ring_bytes;
  } else if (free() < least_room) {
    wait([&] { return free() >= least_room; });
  }
  const std::size_t position = static_cast<std::size_t>(result_bytes_ % result_ring_bytes);
  std::byte* const at = results_.data() + ResultFileLayout::ring + position + header;
  message_.begin_at(at, std::min({free() - header, to_end - header, inline_message_bytes}));
  return message_;
}

void TaskReceiver::publish(ResultFrame::Kind kind, const Frame& frame, std::uint32_t item, const ItemUsage& usage) {
  std::vector<Descriptor>& descriptors = message_.descriptors();
  const std::size_t count = descriptors.size();
  if (count != 0) send_descriptors(descriptors);
  const bool in_arena = message_.in_arena();
  const std::size_t position = static_cast<std::size_t>(result_bytes_ % result_ring_bytes);
  auto* result = reinterpret_cast<ResultFrame*>(results_.data() + ResultFileLayout::ring + position);
  *result = {kind,
             static_cast<std::uint8_t>(in_arena),
             static_cast<std::uint16_t>(frame.sequence),
             item,
             usage,
             message_.size(),
             count,
             message_.arena_offset()};
  if (in_arena) blocks_.push_back({results_published_, message_.release_arena()});
  result_bytes_ += header + (in_arena ? 0 : round_up(message_.size(), 8));
  ++results_published_;
  if (kind == ResultFrame::streamed) {
    ++values_streamed_;
    value_bytes_streamed_ += message_.size();
  }
  worker().result_bytes.store(result_bytes_, std::memory_order_release);
  prefetch_to_write(results_.data() + ResultFileLayout::ring + result_bytes_ % result_ring_bytes);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  ring(false);
}

bool TaskReceiver::stop_requested(const Frame& frame, std::uint32_t item) const noexcept {
  return parent().stop.load(std::memory_order_acquire) == item_name(static_cast<std::uint32_t>(frame.sequence), item);
}

bool TaskReceiver::may_stream() const noexcept {
  const std::uint64_t values = values_streamed_ - parent().values_taken.load(std::memory_order_acquire);
  const std::uint64_t bytes = value_bytes_streamed_ - parent().value_bytes_taken.load(std::memory_order_relaxed);
  if (values >= stream_window_values || bytes >= stream_window_bytes) return false;
  // For a message in the ring, after what may be left over at its end.
  constexpr std::uint64_t room = header + inline_message_bytes + least_room;
  return result_bytes_ - parent().result_bytes_read.load(std::memory_order_acquire) + room <= result_ring_bytes;
}

void TaskReceiver::sleep_in_loop(bool for_room) {
  worker().asleep.store(for_room ? asleep_in_loop_for_room : asleep_in_loop, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  ring(true);
}

void TaskReceiver::awake_in_loop() noexcept { worker().asleep.store(not_asleep, std::memory_order_relaxed); }

void TaskReceiver::clear_loop_bell() noexcept {
  std::uint64_t rings;
  while (::read(loop_bell_.get(), &rings, sizeof rings) < 0 && errno == EINTR) {
  }
}

void TaskReceiver::send_descriptors(std::vector<Descriptor>& descriptors) {
  std::vector<int> numbers;
  for (const Descriptor& descriptor : descriptors) numbers.push_back(descriptor.get());
  const std::uint64_t number = results_published_;
  for (;;) {
    const Transfer transfer = send_with_descriptors(socket_.get(), std::as_bytes(std::span(&number, 1)), numbers);
    if (transfer.outcome != Transfer::Outcome::would_block) break;
    wait_for_socket(socket_.get(), POLLOUT);
  }
  descriptors.clear();
}

}  // namespace cofork::ipc
