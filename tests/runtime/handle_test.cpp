#include <array>
#include <atomic>
#include <cofork/runtime/handle.hpp>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using namespace cofork::detail;

namespace {
void wait_in_another_thread() {
  std::thread([] { waiting_for_others(); }).join();
}

struct Listening final : HandleState {
  explicit Listening(int& times_told) : HandleState("listening"), told(times_told) { wait_in_another_thread(); }
  ~Listening() override { wait_in_another_thread(); }
  void list_descriptors(std::vector<int>&) const override {}
  void after_fork_in_child(bool) noexcept override {}
  void process_waits() noexcept override { ++told; }

  int& told;
};
}  // namespace

TEST_CASE("a handle's state is told nothing while it is made, and nothing when it ends") {
  int told = 0;
  {
    const IntrusivePtr<Listening> state(new Listening(told));
    CHECK(told == 0);
    wait_in_another_thread();
    CHECK(told == 1);
  }
  CHECK(told == 1);
}

TEST_CASE("a handle's state whose last references end in two threads at once ends once", "[threads]") {
  struct Counting final : HandleState {
    explicit Counting(std::atomic<int>& times_ended) : HandleState("counting"), ended(times_ended) {}
    ~Counting() override { ++ended; }
    void list_descriptors(std::vector<int>&) const override {}
    void after_fork_in_child(bool) noexcept override {}

    std::atomic<int>& ended;
  };
  std::atomic<int> ended = 0;
  for (int i = 0; i < 300; ++i) {
    IntrusivePtr<Counting> one(new Counting(ended)), other(one);
    std::thread thread([&] { other = {}; });
    one = {};
    thread.join();
  }
  CHECK(ended == 300);
}

TEST_CASE("the list that a handle is in is no vector of handles, wherever it lies") {
  struct State final : HandleState {
    State() : HandleState("state") {}
    void list_descriptors(std::vector<int>&) const override {}
    void after_fork_in_child(bool) noexcept override {}
  };
  struct Handle : HandleBase {
    Handle() : HandleBase(IntrusivePtr<HandleState>(new State)) {}
  };
  const auto first = std::make_unique<Handle>(), given = std::make_unique<Handle>(*first);
  const Handle later = *given;
  const FoundHandles found = handles_within(given.get(), sizeof *given);
  CHECK(found.has(*given));
  CHECK_FALSE(found.has(*first));
  CHECK_FALSE(found.has(later));
  // Addresses are as they happen to be: in some of the rounds the list looks like one, with the other handle in it.
  std::vector<std::unique_ptr<std::byte[]>> gaps;
  for (std::size_t round = 0; round < 200; ++round) {
    const auto pair = std::make_unique<std::array<Handle, 2>>();
    for (std::size_t i = 0; i < 2; ++i) {
      gaps.push_back(std::make_unique<std::byte[]>(16 + round * 16 % 80));
      const auto target = std::make_unique<Handle>((*pair)[i]);
      CHECK(handles_in_vectors_at(target.get(), sizeof *target).states().empty());
    }
  }
  // So do the words of a handle that a word points to: those of the one in the middle, as three copies lie here.
  struct Above final : HandleState {
    Above() : HandleState("above") {}
    static void* operator new(std::size_t, std::byte* place) { return place; }
    static void operator delete(void*) {}
    static void operator delete(void*, std::byte*) {}
    void list_descriptors(std::vector<int>&) const override {}
    void after_fork_in_child(bool) noexcept override {}
  };
  struct Copied : HandleBase {
    explicit Copied(std::byte* place) : HandleBase(IntrusivePtr<HandleState>(new (place) Above)) {}
  };
  alignas(std::max_align_t) std::byte slots[4 * sizeof(HandleBase) + sizeof(Above)];
  const auto slot = [&](std::size_t i) { return slots + i * sizeof(HandleBase); };
  const auto* const left = new (slot(0)) Copied(slot(4));
  const auto* const other = new (slot(1)) Handle;
  const auto* const middle = new (slot(3)) Copied(*left);
  const auto* const right = new (slot(2)) Copied(*left);
  CHECK(handles_in_vectors_at(&middle, sizeof middle).states().empty());
  right->~Copied();
  middle->~Copied();
  other->~Handle();
  left->~Copied();

  const std::vector<Handle> vector(3);
  const std::vector<Handle>* const word = &vector;
  CHECK(handles_in_vectors_at(&word, sizeof word).states().size() == 3);
}
