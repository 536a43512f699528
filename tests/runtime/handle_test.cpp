#include <atomic>
#include <cofork/runtime/handle.hpp>
#include <thread>

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
