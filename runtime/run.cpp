#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#include <uv.h>

#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/loop_handles.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/signal_watch.hpp>
#include <cofork/runtime/spawn.hpp>
#include <exception>

namespace cofork::detail {

namespace {

/// Cancels a context at the first SIGINT, and then leaves the signal to its default.
class InterruptWatch {
 public:
  InterruptWatch(Loop& loop, Context& main) : loop_(loop), main_(main) {
    struct sigaction current;
    if (::getpid() != ::gettid() || ::sigaction(SIGINT, nullptr, &current) != 0) return;
    if ((current.sa_flags & SA_SIGINFO) != 0 || current.sa_handler != SIG_DFL) return;
    check_uv(uv_signal_init(loop.uv(), &signal_), "uv_signal_init");
    signal_.data = this;
    open_ = true;
    const int status = uv_signal_start(
        &signal_, [](uv_signal_t* signal, int) { static_cast<InterruptWatch*>(signal->data)->interrupt(); }, SIGINT);
    if (status < 0) {
      close();
      check_uv(status, "uv_signal_start");
    }
    // It must not keep a borrowed loop of the user's alive.
    uv_unref(reinterpret_cast<uv_handle_t*>(&signal_));
  }
  InterruptWatch(const InterruptWatch&) = delete;
  ~InterruptWatch() { close(); }

  bool interrupted() const noexcept { return interrupted_; }

 private:
  void interrupt() {
    interrupted_ = true;
    uv_signal_stop(&signal_);
    keep_watching(SIGINT);
    main_.cancel();
  }
  void close() {
    if (!open_) return;
    open_ = false;
    bool closed = false;
    signal_.data = &closed;
    uv_close(reinterpret_cast<uv_handle_t*>(&signal_),
             [](uv_handle_t* handle) { *static_cast<bool*>(handle->data) = true; });
    while (!closed) uv_run(loop_.uv(), UV_RUN_NOWAIT);
    keep_watching(SIGINT);
  }

  Loop& loop_;
  Context& main_;
  uv_signal_t signal_;
  bool open_ = false;
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
