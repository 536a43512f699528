#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cofork/executors/after_fork.hpp>
#include <cofork/executors/early_server_process.hpp>
#include <cofork/executors/template_process.hpp>
#include <cofork/ipc/descriptor_passing.hpp>
#include <csignal>
#include <cstdlib>
#include <span>
#include <system_error>
#include <utility>

namespace cofork::detail {
namespace {

using ipc::Descriptor;

constexpr int parent_death_signal = SIGTERM;

// All signals stay blocked, as in the templates.
class EarlyServerProcess {
 public:
  EarlyServerProcess(int control, pid_t parent) : control_(control), parent_(parent), self_(::getpid()) {}

  [[noreturn]] void run() {
    sigset_t watched;
    ::sigemptyset(&watched);
    ::sigaddset(&watched, SIGCHLD);
    ::sigaddset(&watched, parent_death_signal);
    signals_.reset(::signalfd(-1, &watched, SFD_NONBLOCK | SFD_CLOEXEC));
    if (!signals_.valid()) end();
    while (true) {
      std::array<pollfd, 2> ready = {{{control_, POLLIN | POLLRDHUP, 0}, {signals_.get(), POLLIN, 0}}};
      if (::poll(ready.data(), ready.size(), -1) < 0) {
        if (errno == EINTR) continue;
        end();
      }
      if ((ready[0].revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0) end();
      if (ready[1].revents != 0) {
        std::array<signalfd_siginfo, 8> pending;
        while (::read(signals_.get(), pending.data(), sizeof pending) > 0) {
        }
        // The death signal also comes when only the thread that forked us ends.
        if (::getppid() != parent_) end();
        while (::waitpid(-1, nullptr, WNOHANG) > 0) {
        }
      }
      if ((ready[0].revents & POLLIN) != 0) receive();
    }
  }

 private:
  void receive() {
    TemplateOrder order = {};
    ipc::ReceivedDescriptors received;
    while (ipc::receive_with_descriptors(control_, std::as_writable_bytes(std::span(&order, 1)), received)) {
      // Without it nobody can be answered; the end of the stream tells them.
      if (received.descriptors.size() == 1) fork_template(order, received.descriptors.front().get());
    }
  }

  void fork_template(TemplateOrder& order, int control) {
    TemplateReport report = {TemplateReport::Kind::failed, 0, 0, 0, {}};
    Descriptor pidfd;
    try {
      const auto worker_main = reinterpret_cast<WorkerMain>(resolve(order.worker_main));
      order.name[sizeof order.name - 1] = '\0';
      report.pid = ::fork();
      if (report.pid == 0) run_template(control, self_, worker_main, order.name);
      report.value = errno;
      if (report.pid > 0) {
        pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, report.pid, 0)));
        report.value = errno;
        if (pidfd.valid()) report.kind = TemplateReport::Kind::started;
      }
    } catch (const std::exception&) {
      report.value = ENOEXEC;  // the library itself was loaded after the server was started
    }
    const int descriptor = pidfd.get();
    try {
      ipc::send_with_descriptors(control, std::as_bytes(std::span(&report, 1)),
                                 std::span(&descriptor, pidfd.valid() ? 1 : 0));
    } catch (const std::system_error&) {
      // Too many descriptors under way: the template ends, as it hears from nobody.
      ::shutdown(control, SHUT_RDWR);
    }
  }

  [[noreturn]] static void end() { ::_exit(EXIT_SUCCESS); }

  const int control_;
  const pid_t parent_;
  const pid_t self_;
  Descriptor signals_;
};

}  // namespace

void run_early_server(int control, pid_t parent) noexcept {
  enter_child({.parent = parent, .death_signal = parent_death_signal, .descriptors = std::span(&control, 1)});
  ::prctl(PR_SET_NAME, "cofork-server");
  EarlyServerProcess(control, parent).run();
}

}  // namespace cofork::detail
