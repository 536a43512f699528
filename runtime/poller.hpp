// What a loop asks before it sleeps: a source of completions in shared memory, whose writer rings only when told to.
#pragma once

#include <cofork/runtime/intrusive_list.hpp>

namespace cofork::detail {

class Poller : public Link<Poller> {
 public:
  Poller() = default;

  /// Takes what has arrived; true if there was something.
  virtual bool poll() = 0;
  /// Whether something is expected so soon that looking again for some microseconds beats sleeping.
  virtual bool worth_spinning() const = 0;
  /// The loop is about to sleep: from now on the other side must ring. False if something has arrived meanwhile.
  virtual bool prepare_to_sleep() = 0;
  /// The loop is awake: no more ringing.
  virtual void awake() = 0;

 protected:
  ~Poller() = default;
};

/// What must end before the loop does.
class LoopResource : public Link<LoopResource> {
 public:
  virtual void loop_closing() noexcept = 0;

 protected:
  ~LoopResource() = default;
};

}  // namespace cofork::detail
