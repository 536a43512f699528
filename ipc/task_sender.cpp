#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cofork/ipc/descriptor_passing.hpp>
#include <cofork/ipc/futex.hpp>
#include <cofork/ipc/prefetch.hpp>
#include <cofork/ipc/reader.hpp>
#include <cofork/ipc/task_sender.hpp>
#include <cstring>
#include <new>
#include <system_error>
#include <utility>

namespace cofork::ipc {

namespace {
constexpr std::size_t least_room = 1024;  // for a frame, so that short messages do not land in the arena
constexpr std::size_t header = sizeof(TaskFrame);
// Not passed yet; far fewer than a socket has room for.
constexpr unsigned most_frames_with_descriptors = 64;
}  // namespace

void TaskSender::FreeDeleter::operator()(std::byte* memory) const noexcept {
  ::operator delete (memory, std::align_val_t{message_alignment});
}

TaskSender::TaskSender()
    : task_file_(MemoryFile::create("cofork-tasks", TaskFileLayout::arena)),
      result_file_(MemoryFile::create("cofork-results", ResultFileLayout::arena)),
      tasks_(task_file_.descriptor(), TaskFileLayout::arena),
      results_(result_file_.descriptor(), ResultFileLayout::arena),
      arena_(task_file_, tasks_, TaskFileLayout::arena),
      message_(arena_, tasks_),
      scratch_(static_cast<std::byte*>(::operator new (inline_message_bytes, std::align_val_t{message_alignment}))) {
  workers_task_file_ = task_file_.read_only_descriptor();
  task_file_.seal_shrink();
  result_file_.seal_shrink();
  new (tasks_.data()) ParentWords;
  new (results_.data()) WorkerWords;
  doorbell_ = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!doorbell_) throw std::system_error(errno, std::generic_category(), "eventfd");
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
    throw std::system_error(errno, std::generic_category(), "socketpair");
  socket_ = Descriptor(ends[0]);
  workers_socket_ = Descriptor(ends[1]);
  loop_bell_ = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!loop_bell_) throw std::system_error(errno, std::generic_category(), "eventfd");
}

std::array<int, 5> TaskSender::worker_descriptors() const {
  return {workers_task_file_.get(), result_file_.descriptor(), doorbell_.get(), workers_socket_.get(),
          loop_bell_.get()};
}

void TaskSender::worker_has_them() {
  workers_task_file_.reset();
  workers_socket_.reset();
}

void TaskSender::clear_doorbell() noexcept {
  std::uint64_t rings;
  while (::read(doorbell_.get(), &rings, sizeof rings) < 0 && errno == EINTR) {
  }
}

std::size_t TaskSender::contiguous_room() const noexcept {
  const std::size_t free = task_ring_bytes - static_cast<std::size_t>(ring_head_ - ring_tail_);
  const std::size_t to_end = task_ring_bytes - static_cast<std::size_t>(ring_head_ % task_ring_bytes);
  if (free <= to_end || to_end >= least_room) return std::min(free, to_end);
  return free - to_end;  // after a wrap
}

bool TaskSender::has_room() const noexcept {
  return frames_.size() < max_frames && frames_with_descriptors_ < most_frames_with_descriptors &&
         contiguous_room() >= least_room;
}

TaskSender::Message& TaskSender::begin_frame() {
  const std::size_t position = static_cast<std::size_t>(ring_head_ % task_ring_bytes);
  if (task_ring_bytes - position < least_room) {
    auto* wrap = reinterpret_cast<TaskFrame*>(tasks_.data() + TaskFileLayout::ring + position);
    wrap->flags = TaskFrame::wrap;
    ring_head_ += task_ring_bytes - position;
  }
  const std::size_t at = TaskFileLayout::ring + static_cast<std::size_t>(ring_head_ % task_ring_bytes) + header;
  message_.begin_at(tasks_.data() + at, std::min(contiguous_room() - header, inline_message_bytes));
  return message_;
}

void TaskSender::drop_frame() noexcept { message_.drop(); }

std::uint64_t TaskSender::publish(const Function& function, std::uint32_t items, std::uint32_t flags,
                                  std::uint32_t first_offset) {
  const std::uint64_t sequence = next_frame_;
  std::vector<Descriptor>& descriptors = message_.descriptors();
  if (!descriptors.empty()) {
    std::vector<int> numbers;
    for (const Descriptor& descriptor : descriptors) numbers.push_back(descriptor.get());
    Transfer::Outcome outcome;
    try {
      outcome = send_with_descriptors(socket_.get(), std::as_bytes(std::span(&sequence, 1)), numbers).outcome;
    } catch (...) {
      drop_frame();
      throw;
    }
    // A worker that is gone: its end will be noticed, and the frame goes to another one.
    if (outcome == Transfer::Outcome::would_block) {
      drop_frame();
      throw std::system_error(EAGAIN, std::generic_category(), "sending descriptors to a worker");
    }
  }
  const bool in_arena = message_.in_arena();
  const std::size_t position = static_cast<std::size_t>(ring_head_ % task_ring_bytes);
  auto* frame = reinterpret_cast<TaskFrame*>(tasks_.data() + TaskFileLayout::ring + position);
  frame->flags = flags | (in_arena ? TaskFrame::in_arena : TaskFrame::none);
  frame->items = items;
  frame->first_offset = first_offset;
  frame->descriptors = static_cast<std::uint32_t>(descriptors.size());
  frame->module = function.module;
  frame->offset = function.offset;
  frame->message_size = message_.size();
  frame->arena_offset = message_.arena_offset();
  ring_head_ += header + (in_arena ? 0 : round_up(message_.size(), 64));
  frames_.emplace_back(Frame{ring_head_, static_cast<std::size_t>(message_.data() - tasks_.data()),
                             message_.release_arena(), message_.size(), items, flags, first_offset, function,
                             std::move(descriptors)});
  if (frame->descriptors != 0) ++frames_with_descriptors_;
  ++next_frame_;
  parent().frames.store(next_frame_, std::memory_order_release);
  const std::byte* const next = tasks_.data() + TaskFileLayout::ring + ring_head_ % task_ring_bytes;
  prefetch_to_write(next);
  prefetch_to_write(next + header);
  wake_worker();
  return sequence;
}

/// Wakes it if it sleeps on its futex, or in its loop as `from_loop` says, or in its loop for more than that.
void TaskSender::wake_worker(Asleep from_loop) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  std::atomic<std::uint32_t>& asleep = worker().asleep;
  std::uint32_t how = asleep.load(std::memory_order_relaxed);
  if (how == not_asleep) return;
  const bool loop = how == asleep_in_loop || how == asleep_in_loop_for_room;
  if (loop && (from_loop == not_asleep || how < from_loop)) return;
  // One that woke up meanwhile looks again before it sleeps; if it sleeps again it must not pass for awake.
  if (!asleep.compare_exchange_strong(how, not_asleep, std::memory_order_relaxed)) return;
  if (!loop) {
    futex_wake(asleep, 1);
    return;
  }
  const std::uint64_t one = 1;
  while (::write(loop_bell_.get(), &one, sizeof one) < 0) {
    if (errno == EAGAIN) return;  // it was rung more often than can be counted
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "ringing the bell of a worker's loop");
  }
}

Claim& TaskSender::claim(std::uint64_t frame) const noexcept {
  return reinterpret_cast<Claim*>(results_.data() + ResultFileLayout::claims)[frame % max_frames];
}

std::uint32_t TaskSender::begun(std::uint64_t sequence) const noexcept {
  const std::uint32_t items = frame(sequence).items;
  return std::min(Claim::unpack(claim(sequence).word.load(std::memory_order_acquire), sequence, items).next, items);
}

std::int64_t TaskSender::begun_at(std::uint64_t frame) const noexcept {
  return claim(frame).begun_at.load(std::memory_order_relaxed);
}

std::uint32_t TaskSender::take_back(std::uint64_t sequence, std::uint32_t keep) noexcept {
  std::atomic<std::uint64_t>& word = claim(sequence).word;
  std::uint32_t& items = frame(sequence).items;
  // A worker that keeps changing the word would keep us here: after a few tries it is left with what it has.
  std::uint64_t seen = word.load(std::memory_order_acquire);
  for (int tries = 0; tries < 100; ++tries) {
    const std::uint32_t next = Claim::unpack(seen, sequence, items).next;
    const std::uint32_t limit = std::max(keep, next);
    if (limit >= items) break;
    if (!word.compare_exchange_weak(seen, Claim::pack(sequence, {next, limit}), std::memory_order_acq_rel)) continue;
    items = limit;
    break;
  }
  return items;
}

TaskSender::Sent TaskSender::sent(std::uint64_t sequence) {
  Frame& f = frame(sequence);
  return {f.function, f.flags, f.first_offset, {tasks_.data() + f.message_offset, f.message_size}, f.descriptors};
}

void TaskSender::arguments_taken(std::uint64_t sequence) noexcept {
  Frame& f = frame(sequence);
  if (f.arena_offset == 0) return;
  arena_.free(std::exchange(f.arena_offset, 0));
  f.message_size = 0;
}

std::uint64_t TaskSender::passed() {
  const std::uint64_t passed = worker().frames_passed.load(std::memory_order_acquire);
  if (passed < first_frame_ || passed > next_frame_) Reader::fail("a worker passed frames that it was never sent");
  return passed_ = passed;
}

void TaskSender::release_frame() noexcept {
  Frame& f = frames_.front();
  if (f.arena_offset != 0) arena_.free(f.arena_offset);
  if (!f.descriptors.empty()) --frames_with_descriptors_;
  ring_tail_ = f.ring_end;
  frames_.pop_front();
  ++first_frame_;
  told_results_ = false;
}

bool TaskSender::next_result(Result& result) {
  const std::byte* const ring = results_.data() + ResultFileLayout::ring;
  for (;;) {
    const std::size_t position = static_cast<std::size_t>(result_bytes_read_ % result_ring_bytes);
    if (result_bytes_published_ == result_bytes_read_) {
      // What is published is looked at next.
      __builtin_prefetch(ring + position);
      const std::uint64_t published = worker().result_bytes.load(std::memory_order_acquire);
      if (published == result_bytes_read_) return false;
      // Beyond what it was told to be free nothing can be: so it does not keep its reader busy for ever.
      if (published - result_bytes_read_ > result_ring_bytes || published - result_bytes_told_ > result_ring_bytes ||
          published % 8 != 0)
        Reader::fail("a result ring with a false end");
      result_bytes_published_ = published;
    }
    const std::uint64_t available = result_bytes_published_ - result_bytes_read_;
    if (available < sizeof(ResultFrame)) Reader::fail("a result ring that ends within a result");
    const std::size_t to_end = result_ring_bytes - position;
    if (to_end < sizeof(ResultFrame)) {
      result_bytes_read_ += to_end;
      continue;
    }
    ResultFrame frame;
    std::memcpy(&frame, ring + position, sizeof frame);
    asm volatile("" : "+m"(frame));
    told_results_ = false;
    if (frame.kind == ResultFrame::wrap) {
      if (available < to_end || position == 0) Reader::fail("a result ring that wraps too early");
      result_bytes_read_ += to_end;
      continue;
    }
    if (frame.kind > ResultFrame::streamed) Reader::fail("a result of no known kind");
    std::size_t size = sizeof frame;
    if (frame.in_arena) {
      worth_telling_ = true;
      result.message = large_message(frame);
    } else {
      if (frame.message_size > inline_message_bytes) Reader::fail("a result that is too long");
      size += round_up(static_cast<std::size_t>(frame.message_size), 8);
      if (size > available || size > to_end) Reader::fail("a result beyond the end of its ring");
      std::memcpy(scratch_.get(), ring + position + sizeof frame, static_cast<std::size_t>(frame.message_size));
      result.message = {scratch_.get(), static_cast<std::size_t>(frame.message_size)};
    }
    if (frame.kind == ResultFrame::streamed)
      count_value(result.message.size());
    else if (frame.kind != ResultFrame::arguments_taken)
      end_stream();
    result.kind = frame.kind;
    result.frame = frame.frame;
    result.item = frame.item;
    result.usage = frame.usage;
    result.descriptors.clear();
    if (frame.descriptors != 0) receive_descriptors(frame.descriptors, result.descriptors);
    result_bytes_read_ += size;
    ++results_read_;
    return true;
  }
}

/// One more value of a stream was read.
void TaskSender::count_value(std::uint64_t bytes) {
  if (values_read_.count - values_told_.count >= stream_window_values ||
      values_read_.bytes - values_told_.bytes >= stream_window_bytes)
    Reader::fail("a stream's value beyond its credit");
  ++values_read_.count;
  values_read_.bytes += bytes;
}

void TaskSender::end_stream() noexcept {
  if (values_told_.count == values_read_.count) return;
  worth_telling_ = true;
  values_told_ = values_taken_ = values_read_;
  parent().value_bytes_taken.store(values_told_.bytes, std::memory_order_relaxed);
  parent().values_taken.store(values_told_.count, std::memory_order_release);  // `results_done` wakes the worker
}

void TaskSender::values_taken(std::uint64_t values, std::uint64_t bytes) {
  values_taken_.count += values;
  values_taken_.bytes += bytes;
  // Not for each: a worker that waits for room would wake up for one value at a time.
  if (values_taken_.count - values_told_.count < stream_window_values / 4 &&
      values_taken_.bytes - values_told_.bytes < stream_window_bytes / 4)
    return;
  values_told_ = values_taken_;
  parent().value_bytes_taken.store(values_told_.bytes, std::memory_order_relaxed);
  parent().values_taken.store(values_told_.count, std::memory_order_release);
  wake_worker(asleep_in_loop_for_room);
}

std::span<const std::byte> TaskSender::large_message(const ResultFrame& result) {
  const std::size_t file_size = result_file_.size();
  if (result.arena_offset < ResultFileLayout::arena || result.arena_offset > file_size ||
      result.arena_offset % message_alignment != 0 || result.message_size > file_size - result.arena_offset)
    Reader::fail("a result outside of its arena");
  if (result.arena_offset + result.message_size > results_.size()) {
    try {
      results_.resize(file_size);
    } catch (const std::system_error&) {
      Reader::fail("a result that is too large to be mapped");
    }
  }
  return {results_.data() + result.arena_offset, static_cast<std::size_t>(result.message_size)};
}

void TaskSender::receive_descriptors(std::uint32_t count, std::vector<Descriptor>& into) {
  std::uint64_t number;
  ReceivedDescriptors received;
  bool arrived = false;
  try {
    arrived = bool(receive_with_descriptors(socket_.get(), std::as_writable_bytes(std::span(&number, 1)), received));
  } catch (const std::system_error&) {
    // A message that it did not send with the library.
  }
  if (!arrived || received.descriptors.size() != count)
    Reader::fail(received.lost ? "no free descriptor for what a result brought" : "a result without its descriptors");
  into = std::move(received.descriptors);
}

void TaskSender::results_done() {
  // Not for each: telling takes a cache line away from the worker, which looks at it for every result.
  if (worth_telling_ || result_bytes_read_ - result_bytes_told_ >= result_ring_bytes / 4) tell_what_was_read();
}

void TaskSender::tell_what_was_read() {
  if (told_results_) return;
  told_results_ = true;
  worth_telling_ = false;
  result_bytes_told_ = result_bytes_read_;
  parent().results_read.store(results_read_, std::memory_order_release);
  parent().frames_released.store(first_frame_, std::memory_order_relaxed);
  parent().result_bytes_read.store(result_bytes_read_, std::memory_order_release);
  wake_worker(asleep_in_loop_for_room);
}

bool TaskSender::sleep_until_result(std::uint64_t results) {
  tell_what_was_read();
  parent().ring_at.store(results, std::memory_order_relaxed);
  parent().sleep.store(++sleeps_, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return worker().result_bytes.load(std::memory_order_seq_cst) == result_bytes_read_ &&
         worker().frames_passed.load(std::memory_order_seq_cst) <= std::max(first_frame_, passed_);
}

void TaskSender::awake() noexcept { parent().sleep.store(0, std::memory_order_relaxed); }

void TaskSender::request_stop(std::uint64_t frame, std::uint32_t item) {
  parent().stop.store(item_name(static_cast<std::uint32_t>(frame), item), std::memory_order_release);
  wake_worker(asleep_in_loop);
}

void TaskSender::tell_to_leave() {
  parent().leave.store(1, std::memory_order_release);
  wake_worker();
}

void TaskSender::give_back() { arena_.give_back(); }

}  // namespace cofork::ipc
