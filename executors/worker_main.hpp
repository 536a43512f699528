// What a worker process does: receives calls, makes them, and sends what they gave.
#pragma once

#include <cofork/executors/resource_limits.hpp>
#include <cofork/ipc/reader.hpp>
#include <cofork/ipc/writer.hpp>
#include <span>

namespace cofork::detail {

class WorkerLoop;

/// One call, as the function that decodes, makes and encodes it sees it.
class WorkerCall {
 public:
  explicit WorkerCall(ipc::Reader& reader) noexcept : arguments(reader) {}

  ipc::Reader& arguments;
  ResourceLimits limits;
  /// The function is called next.
  void begin() {
    if (limits.any()) limit_resources(limits);
  }
  /// The arguments were copied: the memory they came in is not looked at any more.
  virtual void arguments_taken() = 0;
  /// Where to write the result; once, after the call.
  virtual ipc::Writer& result() = 0;
  /// Where to write the next value of a stream; then `send_value` sends it.
  virtual ipc::Writer& value() = 0;
  virtual void send_value() = 0;
  /// What a call that is a coroutine runs on.
  virtual WorkerLoop& loop() = 0;

 protected:
  ~WorkerCall() = default;
};

/// What a task frame names: a function that makes one call. It throws what the call throws.
using CallFunction = void (*)(WorkerCall&);

/// The main function of a pool's worker.
void worker_main(std::span<const int> descriptors);

}  // namespace cofork::detail
