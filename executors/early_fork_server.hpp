// A process forked early, while the program was small and had one thread, that pools fork their workers from.
#pragma once

#include <cofork/executors/template_process.hpp>
#include <optional>
#include <string_view>

namespace cofork {

/// For programs that will be large or have many threads. (`multiprocessing`'s forkserver, which is a fresh Python; this
/// one is a copy of the program as it was.)
namespace fork_server {

/// Forks the server from the calling process. Call it at the top of `main`, before threads are started, libraries
/// loaded and much memory is taken. From then on every pool of this process, made on any thread's loop, gets its
/// workers from there, unless its `StartMethod` is `fork`: no large process is forked, and no lock of another thread is
/// copied.
///
/// The workers see the program's memory, its standard output and its working directory as they were at this call. A
/// function of a library that was loaded later fails with `DecodeError`.
///
/// Does nothing if the server runs; if it was killed, forks another one. It ends when this process does, in whatever
/// way, and with it all workers. A child of this process has none, and may start its own. `std::logic_error` on the
/// thread of a running loop, `std::system_error` if there cannot be one. Not by two threads at the same time.
void start();

/// Ends the server and waits until it is reaped. Pools that still use it lose their workers. Does nothing if there is
/// none. Called at the normal end of the process.
void stop() noexcept;

/// Whether this process has started a server, which has not ended.
bool running() noexcept;

}  // namespace fork_server

namespace detail {

/// For pools that insist on the server.
inline constexpr const char* fork_server_has_ended =
    "the fork server has ended: call cofork::fork_server::start() again";

/// As `start_template_process`, but the template is forked by the server, and is its child. Nothing if there is no
/// server (any more). Blocks as long as the fork takes. Throws std::system_error.
std::optional<TemplateProcess> ask_early_fork_server(WorkerMain worker_main, std::string_view name);

}  // namespace detail

}  // namespace cofork
