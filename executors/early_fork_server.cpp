#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cofork/executors/after_fork.hpp>
#include <cofork/executors/early_fork_server.hpp>
#include <cofork/executors/early_server_process.hpp>
#include <cofork/executors/fork_advice.hpp>
#include <cofork/executors/function_id.hpp>
#include <cofork/ipc/descriptor_passing.hpp>
#include <cofork/runtime/loop.hpp>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace cofork {

namespace detail {
namespace {

using ipc::Descriptor;
using ipc::Transfer;

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

bool is_readable(int descriptor, int timeout) {
  pollfd watched = {descriptor, POLLIN, 0};
  int count = 0;
  do {
    count = ::poll(&watched, 1, timeout);
  } while (count < 0 && errno == EINTR);
  return count != 0;
}

std::pair<Descriptor, Descriptor> socket_pair() {
  std::array<int, 2> sockets = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets.data()) < 0) fail("socketpair");
  return {Descriptor(sockets[0]), Descriptor(sockets[1])};
}

/// The running server, as the process that started it sees it.
class EarlyServer {
 public:
  EarlyServer() {
    auto [ours, theirs] = socket_pair();
    {
      const StandardDescriptorsOpen standard_descriptors;
      const SignalsBlocked blocked;
      pid_ = ::fork();
      if (pid_ == 0) run_early_server(theirs.get(), owner_);
      if (pid_ < 0) fail("fork");
    }
    pidfd_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    if (!pidfd_.valid()) {
      const int error = errno;
      ours.reset();  // it ends by itself
      reap();
      throw std::system_error(error, std::generic_category(), "pidfd_open");
    }
    control_ = std::move(ours);
  }
  EarlyServer(const EarlyServer&) = delete;
  EarlyServer& operator=(const EarlyServer&) = delete;
  ~EarlyServer() {
    if (owner_ != ::getpid()) {
      // The numbers are somebody else's, and the process no child.
      static_cast<void>(pidfd_.release());
      static_cast<void>(control_.release());
      return;
    }
    ::shutdown(control_.get(), SHUT_RDWR);
    ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGCONT, nullptr, 0);  // someone may have stopped it
    is_readable(pidfd_.get(), -1);
    reap();
  }

  bool is_running() const noexcept { return owner_ == ::getpid() && !is_readable(pidfd_.get(), 0); }

  /// False if it has ended.
  bool ask(const TemplateOrder& order, int control_of_template) const {
    const auto bytes = std::as_bytes(std::span(&order, 1));
    for (;;) {
      const Transfer sent = ipc::send_with_descriptors(control_.get(), bytes, std::span(&control_of_template, 1));
      if (sent.outcome != Transfer::Outcome::would_block) return sent.outcome == Transfer::Outcome::done;
      std::array<pollfd, 2> watched = {{{control_.get(), POLLOUT, 0}, {pidfd_.get(), POLLIN, 0}}};
      if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) fail("poll");
      if (watched[1].revents != 0) return false;
    }
  }

 private:
  void reap() const noexcept {
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  const pid_t owner_ = ::getpid();
  pid_t pid_ = -1;
  Descriptor pidfd_, control_;
};

/// What the threads of this process share.
class Current {
 public:
  static Current& instance() {
    static Current* const current = new Current;  // used at exit
    return *current;
  }

  std::shared_ptr<EarlyServer> get() {
    const std::lock_guard guard(mutex_);
    return server_;
  }
  /// It has ended: reaps it.
  void forget(const std::shared_ptr<EarlyServer>& server) {
    const std::lock_guard guard(mutex_);
    if (server_ == server) server_.reset();
  }
  std::shared_ptr<EarlyServer> set(std::shared_ptr<EarlyServer> server) {
    const std::lock_guard guard(mutex_);
    return std::exchange(server_, std::move(server));
  }

 private:
  Current() {
    ::pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                     [] { instance().mutex_.unlock(); });
    if (std::atexit([] { fork_server::stop(); }) != 0)
      throw std::system_error(ENOMEM, std::generic_category(), "atexit");
  }

  std::mutex mutex_;
  std::shared_ptr<EarlyServer> server_;
};

// So that asking whether there is a server makes nothing.
std::atomic<Current*> current = nullptr;

std::shared_ptr<EarlyServer> running_server() {
  Current* const known = current.load(std::memory_order_acquire);
  if (!known) return nullptr;
  std::shared_ptr<EarlyServer> server = known->get();
  if (!server || server->is_running()) return server;
  known->forget(server);
  return nullptr;
}

}  // namespace

std::optional<TemplateProcess> ask_early_fork_server(WorkerMain worker_main, std::string_view name) {
  const std::shared_ptr<EarlyServer> server = running_server();
  if (!server) return std::nullopt;
  TemplateOrder order = {};
  order.worker_main = identify(reinterpret_cast<AnyFunction>(worker_main));
  name.copy(order.name, sizeof order.name - 1);
  auto [ours, theirs] = socket_pair();
  if (!server->ask(order, theirs.get())) return std::nullopt;
  theirs.reset();  // from now on the end of the server and its template is the end of the stream

  TemplateReport report = {};
  ipc::ReceivedDescriptors received;
  is_readable(ours.get(), -1);
  if (!ipc::receive_with_descriptors(ours.get(), std::as_writable_bytes(std::span(&report, 1)), received))
    return std::nullopt;
  if (report.kind != TemplateReport::Kind::started)
    throw std::system_error(report.value, std::generic_category(), "the fork server");
  if (received.descriptors.size() != 1) throw std::system_error(EMFILE, std::generic_category(), "the fork server");
  return TemplateProcess{report.pid, std::move(received.descriptors.front()), std::move(ours), false};
}

}  // namespace detail

void fork_server::start() {
  using namespace detail;
  if (current_loop) throw std::logic_error("fork_server::start: a loop runs; call it at the top of main");
  if (running()) return;
  stop();
  warn_about_threads();
  remember_modules();
  flush_standard_streams();
  Current& here = Current::instance();
  auto server = std::make_shared<EarlyServer>();
  // One of the process that this one was forked from, if there is any, is forgotten.
  here.set(std::move(server));
  current.store(&here, std::memory_order_release);
}

void fork_server::stop() noexcept {
  if (detail::Current* const known = detail::current.load(std::memory_order_acquire)) known->set(nullptr);
}

bool fork_server::running() noexcept { return detail::running_server() != nullptr; }

}  // namespace cofork
