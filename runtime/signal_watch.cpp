#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cofork/runtime/signal_watch.hpp>
#include <cofork/runtime/system_call.hpp>
#include <mutex>
#include <system_error>
#include <utility>

namespace cofork::detail {

struct SignalWatch::Subscriber {
  /// False if that has arrived before and was not taken.
  bool tell(std::uint64_t signal) noexcept {
    const bool is_new = (arrived.fetch_or(signal) & signal) == 0;
    const std::uint64_t one = 1;
    // Only a counter that is full already would refuse it.
    static_cast<void>(!::write(bell, &one, sizeof one));
    return is_new;
  }

  std::atomic<std::uint64_t> wanted = 0;
  std::atomic<std::uint64_t> wanted_alone = 0;  // unless somebody wants it
  std::atomic<std::uint64_t> arrived = 0;
  std::atomic<int> bell = -1;
};

/// Of this process: what a fork copied is forgotten.
struct SignalWatch::Table {
  struct Signal {
    unsigned watches = 0;
    struct sigaction before = {};
  };

  // What the handler uses.
  std::atomic<pid_t> owner = 0;
  std::atomic<unsigned> handlers = 0;
  std::array<Subscriber, 256> subscribers;

  std::mutex mutex;  // guards the rest
  std::array<Signal, NSIG> signals;

  Table() {
    // So that a forked child does not find it locked by a thread that it does not have.
    ::pthread_atfork([] { table().mutex.lock(); }, [] { table().mutex.unlock(); }, [] { table().mutex.unlock(); });
  }

  void forget_parent() noexcept {
    if (owner.exchange(::getpid()) == ::getpid()) return;
    handlers = 0;
    for (Subscriber& subscriber : subscribers) {
      subscriber.wanted = subscriber.wanted_alone = 0;
      subscriber.bell = -1;
    }
    signals = {};
  }
};

namespace {
std::uint64_t bit_of(int number) noexcept { return std::uint64_t{1} << (number - 1); }
}  // namespace

SignalWatch::Table& SignalWatch::table() noexcept {
  static Table one;
  return one;
}

void SignalWatch::handle(int number) {
  const int saved = errno;
  Table& table = SignalWatch::table();
  ++table.handlers;
  if (table.owner == ::getpid()) {
    bool wanted = false;
    for (Subscriber& subscriber : table.subscribers) {
      if ((subscriber.wanted & bit_of(number)) == 0) continue;
      wanted = true;
      subscriber.tell(bit_of(number));
    }
    for (Subscriber& subscriber : table.subscribers) {
      if (wanted || (subscriber.wanted_alone & bit_of(number)) == 0 || subscriber.tell(bit_of(number))) continue;
      ::signal(number, SIG_DFL);
      ::raise(number);  // it takes effect when this handler returns
    }
  }
  --table.handlers;
  errno = saved;
}

bool SignalWatch::is_handled_here(int number) noexcept {
  struct sigaction now = {};
  ::sigaction(number, nullptr, &now);
  return (now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == &SignalWatch::handle;
}

SignalWatch::SignalWatch(std::vector<int> numbers, Gets gets)
    : numbers_(std::move(numbers)), bell_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!bell_) throw_errno("watch", "signals");
  Table& all = table();
  const std::lock_guard lock(all.mutex);
  all.forget_parent();
  for (Subscriber& subscriber : all.subscribers)
    if (!subscriber_ && subscriber.bell < 0) subscriber_ = &subscriber;
  if (!subscriber_) throw std::system_error(EMFILE, std::generic_category(), "watch signals");
  subscriber_->arrived = 0;
  subscriber_->bell = bell_.get();
  for (const int number : numbers_) {
    (gets == Gets::all ? subscriber_->wanted : subscriber_->wanted_alone) |= bit_of(number);
    Table::Signal& signal = all.signals[static_cast<std::size_t>(number)];
    // The program may have set a handler of its own after the first watch.
    if (signal.watches++ > 0 && is_handled_here(number)) continue;
    struct sigaction action = {};
    action.sa_handler = &SignalWatch::handle;
    action.sa_flags = SA_RESTART;
    ::sigfillset(&action.sa_mask);
    ::sigaction(number, &action, &signal.before);
  }
}

SignalWatch::~SignalWatch() {
  Table& all = table();
  const std::lock_guard lock(all.mutex);
  if (all.owner != ::getpid()) return;
  for (const int number : numbers_) {
    Table::Signal& signal = all.signals[static_cast<std::size_t>(number)];
    if (--signal.watches == 0 && is_handled_here(number)) ::sigaction(number, &signal.before, nullptr);
  }
  subscriber_->wanted = subscriber_->wanted_alone = 0;
  // A handler that runs in another thread may just be ringing.
  while (all.handlers > 0) ::sched_yield();
  subscriber_->bell = -1;
}

std::uint64_t SignalWatch::take() noexcept {
  std::uint64_t rings = 0;
  retry_interrupted([&] { return ::read(bell_.get(), &rings, sizeof rings); });
  return subscriber_->arrived.exchange(0);
}

}  // namespace cofork::detail
