// The process's standard input and output as streams.
#pragma once

#include <cofork/runtime/byte_stream.hpp>

namespace cofork {

/// Standard input: a pipe, a terminal, a socket, or a regular file, which is read on the spot. Each call makes a new
/// stream, and what one has read ahead the next does not see: keep it. Descriptor 0 stays open when the stream is
/// closed. Terminals and pipes are opened once more, and whatever else shares them (the user's shell) does not see that
/// this process does not block. std::system_error (EBADF).
ByteStream stdin_stream();

/// Standard output, likewise. It knows nothing of what stdio and `std::cout` hold back: flush them first. A reader that
/// is gone is EPIPE.
ByteStream stdout_stream();

/// Standard error, likewise.
ByteStream stderr_stream();

}  // namespace cofork
