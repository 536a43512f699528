// The parent's reading of memory that a worker writes: the input is a list of things that a worker does to it, between
// which the parent looks.
#include <sys/socket.h>

#include <algorithm>
#include <cofork/ipc/memory_file.hpp>
#include <cofork/ipc/task_sender.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

using namespace cofork::ipc;

namespace {

class Input {
 public:
  explicit Input(std::span<const std::uint8_t> bytes) : left_(bytes) {}
  bool empty() const { return left_.empty(); }
  template <class T>
  T take() {
    T value{};
    const std::size_t size = std::min(sizeof value, left_.size());
    std::memcpy(&value, left_.data(), size);
    left_ = left_.subspan(size);
    return value;
  }
  std::span<const std::uint8_t> take(std::size_t size) {
    const auto taken = left_.first(std::min(size, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }

 private:
  std::span<const std::uint8_t> left_;
};

void require(bool condition) {
  if (!condition) std::abort();
}

constexpr std::uint32_t items = 5;
constexpr std::uint64_t frames = 4;

/// The values of streams that were read, less those that were taken.
struct Outstanding {
  std::uint64_t values = 0, bytes = 0;
};

// Reads as a pool does, and holds what it was told against what can be.
void look(TaskSender& sender, std::uint64_t& released, Outstanding& outstanding) {
  const std::uint64_t passed = sender.passed();
  require(passed <= frames);
  TaskSender::Result result;
  unsigned sum = 0;
  for (int i = 0; i < 6000 && sender.next_result(result); ++i) {
    require(result.kind != ResultFrame::wrap && result.kind <= ResultFrame::streamed);
    if (result.kind == ResultFrame::streamed) {
      require(outstanding.values++ < stream_window_values && outstanding.bytes < stream_window_bytes);
      outstanding.bytes += result.message.size();
    } else if (result.kind != ResultFrame::arguments_taken) {
      outstanding = {};
    }
    // Large ones at both ends only: they may be as large as the arena.
    for (const std::byte byte : result.message.first(std::min<std::size_t>(result.message.size(), 64)))
      sum += static_cast<unsigned>(byte);
    if (!result.message.empty()) sum += static_cast<unsigned>(result.message.back());
  }
  asm volatile("" : : "r"(sum));
  sender.results_done();
  for (; released < passed; ++released) sender.release_frame();
  for (std::uint64_t frame = released; frame < frames; ++frame) {
    const std::uint32_t begun = sender.begun(frame);
    require(begun <= items);
    (void)sender.begun_at(frame);
    require(sender.sent(frame).message.size() <= 64);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  TaskSender sender;
  MemoryFile file(Descriptor::duplicate(sender.worker_descriptors()[1]));
  const Descriptor socket = Descriptor::duplicate(sender.worker_descriptors()[3]);
  sender.worker_has_them();
  constexpr std::size_t arena_bytes = 64 * 1024;
  file.grow(ResultFileLayout::arena + arena_bytes);
  const Mapping memory(file.descriptor(), ResultFileLayout::arena + arena_bytes);
  auto& words = *reinterpret_cast<WorkerWords*>(memory.data());
  auto* const claims = reinterpret_cast<Claim*>(memory.data() + ResultFileLayout::claims);
  for (std::uint64_t frame = 0; frame < frames; ++frame) {
    sender.begin_frame().value(frame);
    sender.publish({1, 2}, items, TaskFrame::chunk, 0);
  }
  std::uint64_t released = 0;
  Outstanding outstanding;
  Input input({data, size});
  try {
    while (!input.empty()) {
      switch (input.take<std::uint8_t>() % 10) {
        case 0:
          words.result_bytes = input.take<std::uint64_t>();
          break;
        case 1:
          words.result_bytes += input.take<std::uint16_t>();
          break;
        case 2:
          words.frames_passed = input.take<std::uint8_t>();
          break;
        case 3:
          claims[input.take<std::uint8_t>() % (frames + 1)].word = input.take<std::uint64_t>();
          break;
        case 4: {
          const std::size_t at =
              ResultFileLayout::ring + input.take<std::uint16_t>() * std::size_t{8} % result_ring_bytes;
          const auto bytes = input.take(input.take<std::uint8_t>());
          std::memcpy(memory.data() + at, bytes.data(), bytes.size());
          break;
        }
        case 5:
          (void)::send(socket.get(), "12345678", 8, MSG_DONTWAIT);  // as far as there is room
          break;
        case 6: {
          const std::uint64_t frame = input.take<std::uint8_t>() % frames;
          if (frame < released) break;
          const std::uint32_t keep = input.take<std::uint8_t>() % (items + 2);
          require(sender.take_back(frame, keep) <= items);
          break;
        }
        case 7:
          look(sender, released, outstanding);
          break;
        case 8: {
          const std::uint64_t values = std::min<std::uint64_t>(outstanding.values, input.take<std::uint8_t>());
          const std::uint64_t bytes = std::min<std::uint64_t>(outstanding.bytes, input.take<std::uint32_t>());
          outstanding = {outstanding.values - values, outstanding.bytes - bytes};
          sender.values_taken(values, bytes);
          break;
        }
        case 9:
          words.asleep = input.take<std::uint8_t>() % 5;
          sender.request_stop(input.take<std::uint8_t>() % frames, 0);
          break;
      }
    }
    look(sender, released, outstanding);
  } catch (const cofork::DecodeError&) {
  }
  return 0;
}
