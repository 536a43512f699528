// A stream that a call returned, on its way out of the worker.
#pragma once

#include <cofork/executors/worker_loop.hpp>
#include <cofork/executors/worker_main.hpp>
#include <cofork/ipc/codec.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/stream.hpp>
#include <cofork/runtime/task.hpp>
#include <type_traits>

namespace cofork::detail {

/// Sends the stream's values, as fast as they are taken; ends with the stream, with its error, or when it is stopped.
template <class R>
Task<> send_values(WorkerCall& call, Stream<R> stream) {
  constexpr unsigned values_between_turns = 256;
  WorkerLoop& loop = call.loop();
  for (unsigned sent = 1;; ++sent) {
    auto value = co_await stream.next();
    if (!value) co_return;
    co_await loop.room();
    // A producer that never waits hears of it here.
    if (loop.stop_requested()) throw CancelledError();
    if constexpr (std::is_void_v<R>)
      call.value();
    else
      ipc::encode<R>(call.value(), *value);
    call.send_value();
    if (sent % values_between_turns == 0) co_await yield_now();
  }
}

}  // namespace cofork::detail
