#include <signal.h>

#include <algorithm>
#include <bit>
#include <cofork/runtime/readable_stream.hpp>
#include <cofork/runtime/signal_watch.hpp>
#include <cofork/runtime/signals.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace cofork {

namespace {

class SignalSource final : public detail::StreamSource<int> {
 public:
  explicit SignalSource(std::vector<int> numbers) { watch_.emplace(std::move(numbers)); }

  bool ready() override {
    if (watch_ && arrived_ == 0) arrived_ = watch_->take();
    return !watch_ || arrived_ != 0;
  }
  bool wait(detail::Waiter& waiter, std::coroutine_handle<> coroutine, detail::Context* context) override {
    // The bell may ring late: for what was taken before.
    consumer_.wait(watch_->descriptor(), waiter, coroutine, context, [this] { return ready(); });
    return true;
  }
  std::optional<int> take() override {
    if (!ready() || arrived_ == 0) return std::nullopt;
    const int number = std::countr_zero(arrived_) + 1;
    arrived_ &= arrived_ - 1;
    return number;
  }
  void close() noexcept override {
    consumer_.stop();
    watch_.reset();
    arrived_ = 0;
  }

 private:
  std::optional<detail::SignalWatch> watch_;
  detail::ReadableConsumer consumer_;
  std::uint64_t arrived_ = 0;  // taken from the watch, but not from here
};

void check_number(int number) {
  const auto refuse = [number](const char* why) {
    throw std::invalid_argument("signals: " + std::to_string(number) + why);
  };
  if (number <= 0 || number >= NSIG) refuse(" is no signal");
  if (number > SIGSYS && number < SIGRTMIN) refuse(" is the C library's");
  if (number == SIGKILL || number == SIGSTOP) refuse(" (SIGKILL or SIGSTOP) cannot be watched");
  if (number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL)
    refuse(" (SIGSEGV, SIGBUS, SIGFPE or SIGILL) must not be survived");
}

}  // namespace

Stream<int> signals(std::initializer_list<int> numbers) {
  std::vector<int> once(numbers);
  std::ranges::sort(once);
  once.erase(std::unique(once.begin(), once.end()), once.end());
  if (once.empty()) throw std::invalid_argument("signals: no signal to watch");
  for (const int number : once) check_number(number);
  return Stream<int>(std::make_unique<SignalSource>(std::move(once)));
}

}  // namespace cofork
