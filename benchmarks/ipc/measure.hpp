// How a channel is measured. A channel is a class that is made from a Load in the measuring process, and gives each
// producer its `sender(i)` and the consumer its `receiver()`, which have
//
//     void send(std::span<const std::byte>)
//     std::span<const std::byte> receive()      // until the next call
//
// and a class `Worker`, which runs a function in a process until it is destroyed.
#pragma once

#include <vector>

#include "batches.hpp"
#include "compare.hpp"
#include "load.hpp"
#include "processes.hpp"

namespace bench {

/// Counts messages that come in, for as long as the load says; but not those of the beginning.
class Count {
 public:
  explicit Count(const Load& load) : seconds_(load.seconds), step_(load.size < 65536 ? 32 : 2) {}

  int step() const { return step_; }
  /// Between steps: whether there is to be another. Before the first one a message was received: all are there.
  bool next() {
    messages_ += static_cast<std::uint64_t>(step_);
    if (seconds_since(start_) < (warm_ ? seconds_ : seconds_ / 4)) return true;
    if (warm_) return false;
    warm_ = true;
    messages_ = 0;
    start_ = Clock::now();
    return true;
  }
  double thousands_per_second() const { return static_cast<double>(messages_) / seconds_since(start_) / 1e3; }

 private:
  double seconds_;
  int step_;
  bool warm_ = false;
  std::uint64_t messages_ = 0;
  Clock::time_point start_ = Clock::now();
};

template <class C>
double rate(const Load& load) {
  C channel(load);
  std::vector<typename C::Worker> producers;
  for (int i = 0; i != load.producers; ++i)
    producers.emplace_back([load, i, sender = channel.sender(i)]() mutable {
      pin(load.producer_cpu);
      std::vector<std::byte> message(load.size);
      for (std::uint64_t number = 0;; ++number) {
        stamp(message, i, number);
        sender.send(message);
      }
    });
  pin(load.consumer_cpu);
  auto receiver = channel.receiver();
  Check check(load);
  check(receiver.receive());
  Count count(load);
  do
    for (int i = 0; i != count.step(); ++i) check(receiver.receive());
  while (count.next());
  return count.thousands_per_second();
}

template <class C>
double trips(const Load& load) {
  C there(load), back(load);
  const typename C::Worker partner([load, receiver = there.receiver(), sender = back.sender(0)]() mutable {
    pin(load.producer_cpu);
    for (;;) sender.send(receiver.receive());
  });
  pin(load.consumer_cpu);
  auto sender = there.sender(0);
  auto receiver = back.receiver();
  Check check(load);
  std::vector<std::byte> message(load.size);
  std::uint64_t number = 0;
  const auto trip = [&] {
    stamp(message, 0, number++);
    sender.send(message);
    check(receiver.receive());
  };
  trip();  // both ends are there
  Batches batches(load.seconds);
  while (batches.next())
    for (int i = 0; i != Batches::trips; ++i) trip();
  return batches.microseconds_each();
}

}  // namespace bench
