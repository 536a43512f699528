// signals(): operating-system signals as a stream.
#pragma once

#include <cofork/runtime/stream.hpp>
#include <initializer_list>

namespace cofork {

/// The signals of these numbers that reach this process, from the call on (`loop.add_signal_handler`). Until the stream
/// is closed or dropped they do nothing else; then what the program had set for them before is restored. (A
/// handler that the program sets meanwhile takes the signal away; so does `uv_spawn`, with SIGCHLD.) SIGINT does
/// not cancel `run`'s main meanwhile.
///
/// Each stream that watches a signal gets it. A signal that arrives while one of the same number waits to be taken from
/// a stream is merged with it, as the kernel does with pending ones; several that wait come in the order of their
/// numbers. The stream has no end of its own; cancelling `next` loses nothing.
///
/// `std::invalid_argument` for SIGKILL and SIGSTOP, which cannot be watched, for SIGSEGV, SIGBUS, SIGFPE and SIGILL,
/// which must not be survived, for what is no signal, and for none at all. `std::system_error` without a free
/// descriptor, and from 257 streams on. `std::logic_error` where no loop is running.
Stream<int> signals(std::initializer_list<int> numbers);

}  // namespace cofork
