// A descriptor that can travel to another process beside a message.
#pragma once

#include <cofork/runtime/descriptor.hpp>

namespace cofork::ipc {

/// It has a codec: encoding duplicates the descriptor, decoding yields a new descriptor of the same open file in the
/// receiving process, owned by the result (`multiprocessing.reduction.DupFd`).
using Descriptor = detail::Descriptor;

}  // namespace cofork::ipc
