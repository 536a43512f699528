#include <cofork/runtime/frame_allocator.hpp>
#include <cofork/runtime/run.hpp>
#include <cstring>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"
#include "support/sanitizers.hpp"

using namespace cofork;
using detail::FrameAllocator;

TEST_CASE("frames of every size can be written to their end") {
  const auto use_all = [] {
    std::vector<std::pair<void*, std::size_t>> frames;
    for (const std::size_t size : {1, 63, 64, 65, 128, 500, 1023, 1024, 1025, 5000, 100'000}) {
      for (int count = 0; count < 3; ++count) {
        void* const frame = FrameAllocator::allocate(size);
        CHECK(reinterpret_cast<std::uintptr_t>(frame) % alignof(std::max_align_t) == 0);
        std::memset(frame, 0xAA, size);
        frames.emplace_back(frame, size);
      }
    }
    std::set<void*> different;
    for (const auto& [frame, size] : frames) different.insert(frame);
    CHECK(different.size() == frames.size());
    for (const auto& [frame, size] : frames) FrameAllocator::deallocate(frame, size);
  };
  use_all();
  FrameAllocator::keep_frames();
  use_all();
  use_all();
  FrameAllocator::release_frames();
  use_all();
}

TEST_CASE("a frame is used again for the next of about the same size") {
  FrameAllocator::keep_frames();
  void* const first = FrameAllocator::allocate(100);
  FrameAllocator::deallocate(first, 100);
  void* const second = FrameAllocator::allocate(128);
  void* const third = FrameAllocator::allocate(100);
  // Under AddressSanitizer no frame is used twice, so that a use after its end is seen.
  if (!support::address_sanitizer) CHECK(first == second);
  CHECK(third != second);
  FrameAllocator::deallocate(third, 100);
  FrameAllocator::deallocate(second, 128);
  FrameAllocator::release_frames();
}

TEST_CASE("frames that outlive their loop can still be destroyed", "[threads]") {
  const auto body = [](std::vector<int> memory) -> Task<int> { co_return static_cast<int>(memory.size()); };
  std::vector<Task<int>> left;
  run([&]() -> Task<> {
    for (int count = 0; count < 100; ++count) left.push_back(body(std::vector<int>(10)));
    co_return;
  });
  std::thread([others = std::move(left)]() mutable { others.clear(); }).join();
}
