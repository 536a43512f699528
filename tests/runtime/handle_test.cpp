#include <cofork/runtime/handle.hpp>
#include <thread>

#include "support/catch.hpp"

using namespace cofork::detail;

namespace {
struct Ending final : HandleState {
  explicit Ending(int& times_told) : HandleState("ending"), told(times_told) {}
  ~Ending() override {
    std::thread([] { waiting_for_others(); }).join();
  }
  void list_descriptors(std::vector<int>&) const override {}
  void after_fork_in_child(bool) noexcept override {}
  void process_waits() noexcept override { ++told; }

  int& told;
};
}  // namespace

TEST_CASE("a handle's state that ends is told nothing any more") {
  int told = 0;
  {
    const IntrusivePtr<Ending> state(new Ending(told));
    waiting_for_others();
    CHECK(told == 1);
  }
  CHECK(told == 1);
}
