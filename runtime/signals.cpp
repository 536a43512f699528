#include <signal.h>
#include <uv.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/loop_handles.hpp>
#include <cofork/runtime/signals.hpp>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace cofork {

namespace {

std::atomic<int> interrupt_streams = 0;

struct sigaction action_of(int number) {
  struct sigaction action = {};
  ::sigaction(number, nullptr, &action);
  return action;
}

bool same_handler(const struct sigaction& one, const struct sigaction& other) {
  const bool plain = ((one.sa_flags | other.sa_flags) & SA_SIGINFO) == 0;
  return plain ? one.sa_handler == other.sa_handler
               : (one.sa_flags & other.sa_flags & SA_SIGINFO) != 0 && one.sa_sigaction == other.sa_sigaction;
}

/// What the program had set before libuv's handler, which leaves the default behind. One for the process.
class Dispositions {
 public:
  template <class F>
  void start(int number, F start_handle) {
    const std::lock_guard lock(mutex_);
    const struct sigaction before = action_of(number);
    start_handle();
    if (!same_handler(before, action_of(number))) before_[static_cast<std::size_t>(number)] = before;
  }

  template <class F>
  void stop(int number, F stop_handle) noexcept {
    const std::lock_guard lock(mutex_);
    // Between the default and what was before nothing shall arrive.
    sigset_t just_this, previous;
    ::sigemptyset(&just_this);
    ::sigaddset(&just_this, number);
    ::pthread_sigmask(SIG_BLOCK, &just_this, &previous);
    stop_handle();
    std::optional<struct sigaction>& before = before_[static_cast<std::size_t>(number)];
    const struct sigaction now = action_of(number);
    if (before && (now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == SIG_DFL) {
      ::sigaction(number, &*before, nullptr);
      before.reset();
    }
    ::pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  }

 private:
  std::mutex mutex_;
  std::array<std::optional<struct sigaction>, NSIG> before_;
};

Dispositions& dispositions() {
  static Dispositions one;
  return one;
}

class SignalSource final : public detail::StreamSource<int>, private detail::LoopResource {
 public:
  explicit SignalSource(const std::vector<int>& numbers) {
    Loop& loop = Loop::current();
    loop.resources().push_back(*this);
    try {
      for (const int number : numbers) start(loop.uv(), number);
    } catch (...) {
      stop_all();
      throw;
    }
  }
  ~SignalSource() override { stop_all(); }

  bool ready() override { return closed_ || !arrived_.empty(); }
  bool wait(detail::Waiter& waiter, std::coroutine_handle<> coroutine, detail::Context* context) override {
    consumer_.wait(waiter, coroutine, context);
    return true;
  }
  std::optional<int> take() override {
    if (arrived_.empty()) return std::nullopt;
    const int number = arrived_.front();
    arrived_.pop_front();
    return number;
  }
  void close() noexcept override {
    arrived_.clear();
    stop_all();
    consumer_.wake();
  }

 private:
  void start(uv_loop_t* loop, int number) {
    auto handle = std::make_unique<uv_signal_t>();
    detail::check_uv(uv_signal_init(loop, handle.get()), "uv_signal_init");
    uv_signal_t* const signal = handle.release();
    handles_.push_back(signal);
    signal->data = this;
    dispositions().start(number, [&] {
      detail::check_uv(
          uv_signal_start(
              signal,
              [](uv_signal_t* source, int arrived) { static_cast<SignalSource*>(source->data)->arrive(arrived); },
              number),
          "uv_signal_start");
    });
    // It must not keep a borrowed loop of the user's alive.
    uv_unref(reinterpret_cast<uv_handle_t*>(signal));
    if (number == SIGINT) ++interrupt_streams;
  }

  void stop_all() noexcept {
    closed_ = true;
    static_cast<Link<LoopResource>&>(*this).unlink();
    for (uv_signal_t* const signal : handles_) {
      const int number = signal->signum;
      if (number != 0) dispositions().stop(number, [&] { uv_signal_stop(signal); });
      if (number == SIGINT) --interrupt_streams;
      uv_close(reinterpret_cast<uv_handle_t*>(signal),
               [](uv_handle_t* handle) { delete reinterpret_cast<uv_signal_t*>(handle); });
    }
    handles_.clear();
  }

  void loop_closing() noexcept override { close(); }

  void arrive(int number) {
    if (std::ranges::find(arrived_, number) == arrived_.end()) arrived_.push_back(number);
    consumer_.wake();
  }

  detail::StreamConsumer consumer_;
  std::vector<uv_signal_t*> handles_;
  std::deque<int> arrived_;
  bool closed_ = false;
};

void check_number(int number) {
  const auto refuse = [number](const char* why) {
    throw std::invalid_argument("signals: " + std::to_string(number) + why);
  };
  if (number <= 0 || number >= NSIG) refuse(" is no signal");
  if (number == SIGKILL || number == SIGSTOP) refuse(" (SIGKILL or SIGSTOP) cannot be watched");
  if (number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL)
    refuse(" (SIGSEGV, SIGBUS, SIGFPE or SIGILL) must not be survived");
}

}  // namespace

bool detail::interrupts_are_watched() noexcept { return interrupt_streams.load() > 0; }

Stream<int> signals(std::initializer_list<int> numbers) {
  std::vector<int> once(numbers);
  std::ranges::sort(once);
  once.erase(std::unique(once.begin(), once.end()), once.end());
  if (once.empty()) throw std::invalid_argument("signals: no signal to watch");
  for (const int number : once) check_number(number);
  return Stream<int>(std::make_unique<SignalSource>(once));
}

}  // namespace cofork
