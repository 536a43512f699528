#include <signal.h>
#include <sys/mman.h>

#include <cofork/runtime/handle.hpp>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "executors/process_harness.hpp"

using namespace process_test;
using cofork::Process;

namespace {

/// A handle with a descriptor, like those of the library.
class Handle : public cofork::detail::HandleBase {
 public:
  Handle() : HandleBase(cofork::detail::IntrusivePtr<cofork::detail::HandleState>(new State)) {}
  bool works() const {
    const auto* const state = static_cast<State*>(handle_state());
    return state && state->is_given() && ::fcntl(state->descriptor, F_GETFD) == FD_CLOEXEC;
  }

 private:
  struct State final : cofork::detail::HandleState {
    State() : HandleState("handle"), descriptor(::memfd_create("handle", MFD_CLOEXEC)) {}
    ~State() override { ::close(descriptor); }
    void list_descriptors(std::vector<int>& to) const override { to.push_back(descriptor); }
    void after_fork_in_child(bool is_given) noexcept override {
      if (!is_given) descriptor = -1;
    }
    bool is_given() const { return given(); }
    int descriptor;
  };
};

class Worker : public Process {
 public:
  explicit Worker(int status) : status_(status) {}
  void run() override { std::exit(status_); }

 private:
  int status_;
};

class HasHandle final : public Process {
 public:
  explicit HasHandle(Handle handle) : Process({.name = "has a handle"}), handle_(std::move(handle)) {}
  void run() override { std::exit(handle_.works() && name() == "has a handle" && pid() == ::getpid() ? 0 : 1); }

 private:
  std::string text_ = "something before it";
  Handle handle_;
};

struct Base {
  virtual ~Base() = default;
  std::string text = "a base with members";
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wfree-nonheap-object"
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
class SecondBase : public Base, public Process {
 public:
  explicit SecondBase(const Handle& handle) : handles_(3, handle) {}
  void run() override { std::exit(handles_[2].works() ? 0 : 1); }

 private:
  std::vector<Handle> handles_;
};
#pragma GCC diagnostic pop

class alignas(128) Aligned : public Process {
 public:
  explicit Aligned(const Handle& handle) : handle_(handle) {}
  void run() override { std::exit(handle_.works() ? 0 : 1); }

 private:
  alignas(128) Handle handle_;
};

class CountsItsEnd : public Process {
 public:
  explicit CountsItsEnd(int& ends) : ends_(&ends) {}
  ~CountsItsEnd() override { ++*ends_; }

 private:
  int* ends_;
};

template <class F>
bool child_finds(F works) {
  return exitcode_of_target([works]() mutable { std::exit(works() ? 0 : 1); }) == 0;
}

}  // namespace

TEST_CASE("a class that overrides run is a process") {
  Worker worker(5);
  CHECK(exitcode_of(worker) == 5);
  const std::unique_ptr<Process> on_heap = std::make_unique<Worker>(6);
  CHECK(exitcode_of(*on_heap) == 6);
  const auto shared = std::make_shared<Worker>(7);
  CHECK(exitcode_of(*shared) == 7);
  Worker moved = std::move(worker);
  CHECK(moved.exitcode() == 5);
}

TEST_CASE("a process destroys what derives from it as a whole, once") {
  int ends = 0;
  {
    CountsItsEnd on_stack(ends);
    CHECK(exitcode_of(on_stack) == 0);
  }
  CHECK(ends == 1);
  Process* const on_heap = new CountsItsEnd(ends);
  CHECK(exitcode_of(*on_heap) == 0);
  CHECK(ends == 1);
  delete on_heap;
  CHECK(ends == 2);
}

TEST_CASE("a child has the handles that are members of a derived class") {
  Handle handle, other;
  HasHandle on_stack(handle);
  CHECK(exitcode_of(on_stack) == 0);
  const std::unique_ptr<Process> on_heap = std::make_unique<HasHandle>(handle);
  CHECK(exitcode_of(*on_heap) == 0);
  const auto shared = std::make_shared<HasHandle>(handle);
  CHECK(exitcode_of(*shared) == 0);
  SecondBase second(handle);
  CHECK(exitcode_of(second) == 0);
  Aligned aligned(handle);
  CHECK(exitcode_of(aligned) == 0);
  CHECK(exitcode_of(*std::make_unique<Aligned>(handle)) == 0);
}

TEST_CASE("a child does not have what lies beside an object of a derived class") {
  struct Neighbours {
    int first = 0;  // for a pointer to a handle counts as a reference to it
    Handle before;
    Worker worker{0};
    Handle after;
  };
  class Asks : public Process {
   public:
    Neighbours* neighbours = nullptr;
    void run() override { std::exit(neighbours->before.works() || neighbours->after.works() ? 1 : 0); }
  };
  struct More : Neighbours {
    Asks asks;
    Handle last;
  } more;
  more.asks.neighbours = &more;
  CHECK(exitcode_of(more.asks) == 0);
  CHECK(more.before.works());
}

TEST_CASE("a child has the handles in its target's captures and arguments, and no others") {
  Handle given, other;
  CHECK(child_finds([given] { return given.works(); }));
  CHECK(child_finds([&given] { return given.works(); }));
  CHECK(child_finds([handles = std::vector<Handle>(3, given)] { return handles[2].works(); }));
  CHECK(child_finds([function = std::function<bool()>([given] { return given.works(); })] { return function(); }));
  CHECK(exitcode_of_target([](const Handle& handle) { std::exit(handle.works() ? 0 : 1); }, given) == 0);
  CHECK(exitcode_of_target(
            [](const std::map<int, std::vector<Handle>>& handles) { std::exit(handles.at(1)[0].works() ? 0 : 1); },
            std::map<int, std::vector<Handle>>{{1, {given}}}) == 0);

  const auto* const hidden = reinterpret_cast<const Handle*>(reinterpret_cast<std::uintptr_t>(&other) + 1);
  const auto works = [](const Handle* handle) {
    return reinterpret_cast<const Handle*>(reinterpret_cast<std::uintptr_t>(handle) - 1)->works();
  };
  CHECK(child_finds([given, hidden, works] { return given.works() && !works(hidden); }));
  CHECK(given.works());
  CHECK(other.works());
}

TEST_CASE("a child closes descriptors that a program started by exec would not have, and keeps the others") {
  const cofork::ipc::Descriptor not_kept(::memfd_create("not kept", MFD_CLOEXEC));
  const cofork::ipc::Descriptor kept(::memfd_create("kept", 0));
  const cofork::ipc::Descriptor far(::fcntl(kept.get(), F_DUPFD, 200));
  const int status = exitcode_of_target([numbers = std::array{not_kept.get(), kept.get(), far.get()}] {
    const auto is_open = [](int descriptor) { return ::fcntl(descriptor, F_GETFD) >= 0; };
    std::exit(!is_open(numbers[0]) && is_open(numbers[1]) && is_open(numbers[2]) ? 0 : 1);
  });
  CHECK(status == 0);
}

TEST_CASE("processes are named after the order of their making, and nested ones after their parents") {
  const auto outcome = support::in_child([] {
    // The numbers go on from this process's.
    const Process first, unused, third;
    const std::string number = first.name().substr(std::strlen("Process-"));
    support::require(first.name() == "Process-" + number, first.name());
    support::require(third.name() == "Process-" + std::to_string(std::stoi(number) + 2), third.name());
    Process child({.name = "a child"}, [&] {
      support::require(cofork::current_process().name == "a child", "current");
      support::require(cofork::current_process().pid == ::getpid(), "pid");
      support::require(cofork::parent_process()->name == "MainProcess", "parent");
      support::require(cofork::parent_process()->pid == ::getppid(), "parent's pid");
      Process grandchild([&] {
        const std::string name = "Process-" + std::to_string(std::stoi(number) + 3) + ":1";
        support::require(cofork::current_process().name == name, cofork::current_process().name);
        support::require(cofork::parent_process()->name == "a child", "grandchild's parent");
        support::require(Process().name() == name + ":1", "great-grandchild");
      });
      std::exit(exitcode_of(grandchild));
    });
    support::require(exitcode_of(child) == 0, "child");
    support::require(cofork::current_process().name == "MainProcess", "main");
    support::require(!cofork::parent_process(), "main's parent");
    child.set_name("renamed");
    support::require(child.name() == "renamed", "renamed");
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
}
