#include <signal.h>
#include <unistd.h>

#include <cofork/runtime/descriptor_watch.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/signal_watch.hpp>
#include <cofork/runtime/spawn.hpp>
#include <exception>
#include <optional>
#include <vector>

namespace cofork::detail {

namespace {

/// Cancels a context at the first SIGINT, and then leaves the signal to its default.
class InterruptWatch {
 public:
  InterruptWatch(Loop& loop, Context& main) : main_(main) {
    struct sigaction current;
    if (::getpid() != ::gettid() || ::sigaction(SIGINT, nullptr, &current) != 0) return;
    if ((current.sa_flags & SA_SIGINFO) != 0 || current.sa_handler != SIG_DFL) return;
    watch_.emplace(std::vector{SIGINT}, SignalWatch::Gets::what_nobody_else_watches);
    readable_ = DescriptorWatch(loop.uv(), watch_->descriptor(), [this] { interrupt(); });
  }
  InterruptWatch(const InterruptWatch&) = delete;

  bool interrupted() const noexcept { return interrupted_; }

 private:
  void interrupt() {
    interrupted_ = true;
    readable_ = DescriptorWatch();
    watch_.reset();
    main_.cancel();
  }

  Context& main_;
  std::optional<SignalWatch> watch_;
  DescriptorWatch readable_;
  bool interrupted_ = false;
};

}  // namespace

bool drive(Loop& loop, Context& main, const bool& main_ended) {
  InterruptWatch watch(loop, main);
  loop.run_until([&] { return main_ended; });
  loop.root().cancel();
  loop.run_until([&] { return loop.root().children().empty(); });
  return watch.interrupted();
}

void throw_interrupt(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const CancelledError&) {
    throw KeyboardInterrupt();
  }
}

}  // namespace cofork::detail
