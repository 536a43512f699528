// Hearing of the end of many futures with a node for each: no coroutine, no context. Below `wait`, `as_completed` and a
// `gather` of futures.
#pragma once

#include <cofork/runtime/future.hpp>
#include <cofork/runtime/task_runner.hpp>
#include <cstddef>
#include <vector>

namespace cofork::detail {

class FutureSet {
 public:
  using States = std::vector<IntrusivePtr<FutureStateBase>>;

  explicit FutureSet(States states) noexcept : states_(std::move(states)) {}
  FutureSet(const FutureSet&) = delete;
  FutureSet& operator=(const FutureSet&) = delete;

 protected:
  ~FutureSet() = default;

  std::size_t size() const noexcept { return states_.size(); }
  IntrusivePtr<FutureStateBase>& state(std::size_t index) noexcept { return states_[index]; }

  /// From now on `future_ended` is called, in a later turn, for every future that is not done yet, in the order in
  /// which they end.
  void listen();
  /// Asks for every result as soon as it is there, where it is the first one that counts.
  void want_all();
  bool listens_to(std::size_t index) const noexcept { return index < nodes_.size() && nodes_[index].linked(); }
  void stop_listening(std::size_t index) noexcept { nodes_[index].unlink(); }
  void stop_listening() noexcept { nodes_.clear(); }

  virtual void future_ended(std::size_t index) noexcept = 0;

 private:
  struct Node : Waiter, CallbackFrame {
    Node() noexcept : CallbackFrame(&Node::resumed) {}
    static void resumed(void* frame);
    FutureSet* set = nullptr;
  };
  void want_next();

  States states_;
  std::vector<Node> nodes_;
  std::size_t wanted_ = 0;
};

template <class T>
FutureSet::States states_of(const std::vector<Future<T>>& futures) {
  FutureSet::States states;
  states.reserve(futures.size());
  for (const Future<T>& future : futures) states.emplace_back(&FutureAccess::state(future));
  return states;
}

}  // namespace cofork::detail
