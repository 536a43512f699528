// A number of permits and the queue of those who wait for one: what locks and semaphores are made of. Not for users.
#pragma once

#include <cofork/runtime/context.hpp>
#include <cstddef>

namespace cofork::detail {

/// First come, first served: a permit that is given while somebody waits is handed to the first who does, so it is free
/// only when nobody waits.
class Permits {
 public:
  /// Somebody to whom a permit can be handed.
  struct Taker : Waiter {
    bool granted = false;
  };

  Permits(std::size_t available, std::size_t limit) noexcept : available_(available), limit_(limit) {}
  Permits(const Permits&) = delete;
  Permits& operator=(const Permits&) = delete;

  bool available() const noexcept { return available_ > 0; }
  bool try_take() noexcept {
    if (available_ == 0) return false;
    --available_;
    return true;
  }

  /// For a suspended taker: it is resumed when it has a permit.
  void take(Taker& taker) noexcept;

  /// False if none is missing.
  bool give() noexcept;

 private:
  static void hand_to(Taker& taker) noexcept {
    taker.granted = true;
    taker.resume_later();
  }

  std::size_t available_;
  std::size_t limit_;
  List<Waiter> takers_;
};

}  // namespace cofork::detail
