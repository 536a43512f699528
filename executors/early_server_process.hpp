// What the early fork server does: forks template processes on request, reaps them, and ends with its parent.
#pragma once

#include <sys/types.h>

#include <cofork/executors/function_id.hpp>

namespace cofork::detail {

/// Asks for a template. It travels with the template's end of its control socket, on which a `TemplateReport` comes
/// first: `started`, with the template's pidfd, or `failed`.
struct TemplateOrder {
  FunctionId worker_main;
  char name[16];
};

/// In a process that `parent` has just forked for it, with all signals blocked. `control` is its end of a
/// SOCK_SEQPACKET socket. The templates end with it.
[[noreturn]] void run_early_server(int control, pid_t parent) noexcept;

}  // namespace cofork::detail
