// What to tell users who let a process be forked that should not be.
#pragma once

namespace cofork::detail {

/// Before a template or the fork server is forked: if other threads are running, says so on stderr, once per process.
void warn_about_threads();

/// The same before a fork that is to have the memory of this process as it is.
void warn_about_snapshot_threads();

/// Before a template is forked from this process, although nobody asked for just that: if the process is large, says so
/// on stderr, once per process.
void advise_about_size();

}  // namespace cofork::detail
