// How many threads a process has that is about to fork.
#pragma once

namespace cofork::detail {

/// The calling one included; 1 where that cannot be told. Under ThreadSanitizer, which has a thread of its own,
/// always 1.
unsigned long running_threads() noexcept;

/// Says on stderr, once per process, that other threads are running, if they are: for what forks at the call.
void warn_about_snapshot_threads() noexcept;

}  // namespace cofork::detail
