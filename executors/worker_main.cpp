#include <algorithm>
#include <chrono>
#include <cofork/executors/after_fork.hpp>
#include <cofork/executors/captured_stderr.hpp>
#include <cofork/executors/crash_report.hpp>
#include <cofork/executors/exception_codec.hpp>
#include <cofork/executors/function_id.hpp>
#include <cofork/executors/pool_nesting.hpp>
#include <cofork/executors/task_clock.hpp>
#include <cofork/executors/throw_trace.hpp>
#include <cofork/executors/worker_loop.hpp>
#include <cofork/executors/worker_main.hpp>
#include <cofork/executors/worker_memory.hpp>
#include <cofork/ipc/large_memory.hpp>
#include <cofork/ipc/task_receiver.hpp>
#include <cstdio>
#include <cstring>
#include <exception>
#include <optional>

namespace cofork::detail {

namespace {

// Of large results and arguments, while there are tasks to do.
constexpr std::size_t freed_memory_kept = std::size_t{1} << 30;

std::int64_t now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

class Call final : public WorkerCall {
 public:
  Call(ipc::Reader& reader, ipc::TaskReceiver& receiver, WorkerLoop& loop, const ipc::TaskReceiver::Frame& frame,
       std::uint32_t item)
      : WorkerCall(reader), receiver_(receiver), loop_(loop), frame_(frame), item_(item) {}

  void arguments_taken() override {
    // A chunk's message holds the arguments of further calls.
    const std::uint32_t flags = frame_.header.flags;
    if (!(flags & ipc::TaskFrame::in_arena) || (flags & ipc::TaskFrame::chunk)) return;
    receiver_.begin_result();
    receiver_.publish(ipc::ResultFrame::arguments_taken, frame_, item_, {});
  }
  ipc::Writer& result() override {
    begun_ = true;
    return receiver_.begin_result();
  }
  ipc::Writer& value() override { return receiver_.begin_result(); }
  void send_value() override { receiver_.publish(ipc::ResultFrame::streamed, frame_, item_, {}); }
  WorkerLoop& loop() override {
    loop_.begin(frame_, item_);
    return loop_;
  }
  /// A call that gives nothing never asked for a place to write.
  void finish_result() {
    if (!begun_) receiver_.begin_result();
  }

 private:
  ipc::TaskReceiver& receiver_;
  WorkerLoop& loop_;
  const ipc::TaskReceiver::Frame& frame_;
  std::uint32_t item_;
  bool begun_ = false;
};

/// The items of a frame, one after the other.
class Items {
 public:
  explicit Items(ipc::TaskReceiver::Frame& frame) : frame_(frame), offset_(frame.header.first_offset) {}

  /// Makes the next item's call and writes its result, or its exception.
  ipc::ResultFrame::Kind run_next(ipc::TaskReceiver& receiver, WorkerLoop& loop, std::uint32_t item) {
    // In this order, so that an item that throws leaves the next one's place known.
    std::size_t begin = offset_;
    std::size_t end = frame_.message.size();
    std::span<ipc::Descriptor> descriptors = frame_.descriptors;
    if (frame_.header.flags & ipc::TaskFrame::chunk) {
      ipc::ItemHeader header;
      std::memcpy(&header, frame_.message.data() + begin, sizeof header);
      begin += sizeof header;
      end = begin + header.size;
      // Of those that were sent the last are missing if this process had no numbers for them.
      descriptors = descriptors.subspan(std::min(descriptors_used_, descriptors.size()));
      descriptors = descriptors.first(std::min<std::size_t>(header.descriptors, descriptors.size()));
      descriptors_used_ += header.descriptors;
    }
    offset_ = end;
    const std::size_t aligned = begin / ipc::message_alignment * ipc::message_alignment;
    ipc::Reader reader(frame_.message.subspan(aligned, end - aligned), descriptors);
    reader.in_place(begin - aligned);
    Call call(reader, receiver, loop, frame_, item);
    try {
      if (frame_.header.flags & ipc::TaskFrame::limited) call.limits = reader.value<ResourceLimits>();
      if (!function_) function_ = reinterpret_cast<CallFunction>(resolve({frame_.header.module, frame_.header.offset}));
      function_(call);
      call.finish_result();
      return ipc::ResultFrame::value;
    } catch (...) {
      allow_memory_for_error(call.limits);
      encode_exception(receiver.begin_result(), std::current_exception());
      return ipc::ResultFrame::error;
    }
  }

 private:
  ipc::TaskReceiver::Frame& frame_;
  std::size_t offset_;
  std::size_t descriptors_used_ = 0;
  CallFunction function_ = nullptr;
};

/// False if the worker is of no use: its initializer failed. `time` is when the latest call ended.
bool run_frame(ipc::TaskReceiver& receiver, WorkerLoop& loop, ipc::TaskReceiver::Frame& frame, std::int64_t& time,
               TaskClock& clock) {
  Items items(frame);
  if (receiver.waited_until() != 0) time = receiver.waited_until();
  for (;;) {
    const std::int64_t begun_at = time;
    if (clock.begin(begun_at)) receiver.set_time_at_begin(clock.user(), clock.system());
    begin_captured_task();
    const std::optional<std::uint32_t> item = receiver.claim(frame, begun_at);
    if (!item) break;
    const ipc::ResultFrame::Kind kind = items.run_next(receiver, loop, *item);
    time = now();
    report_memory(receiver, time);
    const ipc::ItemUsage usage = clock.end(begun_at, time);
    // Before its last result, so that whoever has read that knows that the frame's memory is free.
    const bool last = *item + 1 == frame.header.items;
    if (last) receiver.pass(frame);
    receiver.publish(kind, frame, *item, usage);
    if (kind == ipc::ResultFrame::error && frame.header.flags & ipc::TaskFrame::initializer) return false;
    if (last) return true;
  }
  receiver.pass(frame);
  return true;
}

}  // namespace

void worker_main(std::span<const int> descriptors) {
  ipc::keep_freed_memory(freed_memory_kept);
  try {
    ipc::TaskReceiver receiver(descriptors);
    const void* const stack_end = __builtin_frame_address(0);  // of what is told about tasks
    report_crashes(receiver.crash_record());
    report_crashes_below(stack_end);
    trace_throws(stack_end);
    become_pool_worker(receiver.settings());
    watch_memory(receiver);
    WorkerLoop loop(receiver);
    TaskClock clock;
    std::int64_t time = now();
    while (std::optional<ipc::TaskReceiver::Frame> frame = receiver.next_frame())
      if (!run_frame(receiver, loop, *frame, time, clock)) leave(1);
    leave(0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cofork: a worker cannot go on: %s\n", error.what());
    leave(1);
  }
}

}  // namespace cofork::detail
