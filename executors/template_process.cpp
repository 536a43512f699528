#include <cofork/executors/template_process.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cofork/executors/after_fork.hpp>
#include <cofork/executors/fork_advice.hpp>
#include <cofork/executors/function_id.hpp>
#include <cofork/executors/throw_trace.hpp>
#include <cofork/ipc/descriptor_passing.hpp>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <optional>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cofork::detail {
namespace {

using ipc::Descriptor;

constexpr int parent_death_signal = SIGTERM;

Descriptor open_pidfd(pid_t pid) { return Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); }

[[noreturn]] void run_worker(WorkerMain worker_main, pid_t parent, const std::vector<Descriptor>& given,
                             std::span<const int> inherited, GivenHandles* handles,
                             const CapturedStderr* captured) noexcept {
  enter_captured_worker(captured);
  std::vector<int> descriptors(given.size());
  std::transform(given.begin(), given.end(), descriptors.begin(), [](const Descriptor& d) { return d.get(); });
  std::vector<int> kept(descriptors);
  kept.insert(kept.end(), inherited.begin(), inherited.end());
  enter_child({.parent = parent, .descriptors = kept});
  if (handles) handles->in_child();
  isolate_exit();
  unblock_signals();
  worker_main(descriptors);
  leave(0);
}

// All signals stay blocked here: those that matter are read from a descriptor, and nobody ends it by mistake.
class Template {
 public:
  Template(int control, pid_t parent, WorkerMain worker_main, const Inheritance* inheritance,
           std::span<const int> inherited)
      : control_(control),
        parent_(parent),
        self_(::getpid()),
        worker_main_(worker_main),
        inheritance_(inheritance),
        inherited_(inherited) {}

  [[noreturn]] void run() noexcept {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigset_t watched;
    ::sigemptyset(&watched);
    ::sigaddset(&watched, SIGCHLD);
    ::sigaddset(&watched, parent_death_signal);
    signals_ = Descriptor(::signalfd(-1, &watched, SFD_NONBLOCK | SFD_CLOEXEC));
    if (!signals_.valid()) shut_down();

    std::vector<pollfd> ready;
    while (true) {
      const auto wanted = static_cast<short>(POLLIN | POLLRDHUP | (outbox_.empty() ? 0 : POLLOUT));
      ready.assign({{control_, wanted, 0}, {signals_.get(), POLLIN, 0}});
      stderr_.watch(ready);
      if (::poll(ready.data(), ready.size(), -1) < 0) {
        if (errno == EINTR) continue;
        shut_down();
      }
      if ((ready[0].revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0) shut_down();
      stderr_.relay(std::span(ready).subspan(2));
      if (ready[1].revents != 0) {
        read_signals();
        // The death signal also comes when only the thread that forked us ends.
        if (::getppid() != parent_) shut_down();
        reap();
      }
      if ((ready[0].revents & POLLIN) != 0) receive();
      send_reports();
    }
  }

 private:
  void read_signals() {
    std::array<signalfd_siginfo, 8> pending;
    while (::read(signals_.get(), pending.data(), sizeof pending) > 0) {
    }
  }

  void receive() {
    TemplateRequest request = {};
    const auto bytes = std::as_writable_bytes(std::span(&request, 1));
    while (true) {
      const ipc::Transfer transfer = ipc::receive_with_descriptors(control_, bytes, received_);
      if (!transfer) return;  // the end of the stream is seen by poll
      if (request.kind == TemplateRequest::Kind::start) {
        start(request);
      } else if (const auto worker = pids_.find(request.id); worker != pids_.end()) {
        signal_worker(worker->second, static_cast<int>(request.value));
      }
    }
  }

  void start(const TemplateRequest& request) {
    const auto fail = [&](int error) {
      report({.kind = TemplateReport::Kind::failed, .value = error, .id = request.id, .pid = 0, .usage = {}});
    };
    const std::vector<Descriptor> given = std::exchange(received_.descriptors, {});
    if (received_.lost || given.size() != request.value) return fail(EMFILE);
    std::optional<GivenHandles> handles;
    try {
      if (inheritance_) handles.emplace(inheritance_->handles);
    } catch (const std::system_error& error) {
      return fail(error.code().value());
    }
    CapturedStderr* const captured = request.capture_stderr ? stderr_.add() : nullptr;
    const pid_t pid = ::fork();
    if (pid < 0) {
      const int error = errno;
      if (captured) stderr_.remove_last();
      return fail(error);
    }
    if (pid == 0) run_worker(worker_main_, self_, given, inherited_, handles ? &*handles : nullptr, captured);
    if (captured) captured->forked(pid);
    ::setpgid(pid, pid);  // the worker does it too: who comes first makes the group
    ids_.emplace(pid, request.id);
    pids_.emplace(request.id, pid);
    report({.kind = TemplateReport::Kind::started, .value = 0, .id = request.id, .pid = pid, .usage = {}},
           open_pidfd(pid));
  }

  static void signal_worker(pid_t pid, int signo) {
    const int result = ::kill(-pid, signo);
    if (result < 0 || ::getpgid(pid) != pid) ::kill(pid, signo);  // it has left its group itself
  }

  void reap() {
    while (true) {
      siginfo_t ended = {};
      if (::waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) < 0) return;  // no child at all
      if (ended.si_pid == 0) break;
      const auto worker = ids_.find(ended.si_pid);
      // As long as the worker is not reaped, its pid and the number of its group are its own.
      if (worker != ids_.end()) ::kill(-ended.si_pid, SIGKILL);
      int status = 0;
      rusage usage = {};
      if (::wait4(ended.si_pid, &status, 0, &usage) < 0 || worker == ids_.end()) continue;
      TemplateReport exited = {TemplateReport::Kind::exited, status, worker->second, worker->first, usage};
      exited.text_size =
          static_cast<std::uint32_t>(stderr_.ended(worker->first).copy(exited.text.data(), exited.text.size()));
      report(exited);
      pids_.erase(worker->second);
      ids_.erase(worker);
    }
    // Processes that left their worker's group come to us when it ends. With no worker left they are nobody's.
    if (ids_.empty()) kill_children();
  }

  // Sends SIGKILL to every child, and tells how many got it.
  static std::size_t kill_children() {
    std::string text;
    if (std::FILE* file = std::fopen("/proc/thread-self/children", "re")) {
      std::array<char, 4096> part;
      while (const std::size_t count = std::fread(part.data(), 1, part.size(), file)) text.append(part.data(), count);
      std::fclose(file);
    }
    std::size_t killed = 0;
    const char* position = text.c_str();
    char* end = nullptr;
    for (long pid = std::strtol(position, &end, 10); end != position; pid = std::strtol(position, &end, 10)) {
      position = end;
      // A /proc of another pid namespace would name strangers.
      siginfo_t ended = {};
      if (::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOHANG | WNOWAIT) < 0) continue;
      if (::kill(static_cast<pid_t>(pid), SIGKILL) == 0) ++killed;
    }
    return killed;
  }

  void report(const TemplateReport& report, Descriptor pidfd = {}) {
    outbox_.emplace_back(report, std::move(pidfd));
    send_reports();
  }

  void send_reports() {
    while (!outbox_.empty()) {
      auto& [report, pidfd] = outbox_.front();
      const int descriptor = pidfd.get();
      const std::span<const int> descriptors(&descriptor, pidfd.valid() ? 1 : 0);
      try {
        const auto bytes =
            std::as_bytes(std::span(&report, 1)).first(offsetof(TemplateReport, text) + report.text_size);
        const ipc::Transfer sent = ipc::send_with_descriptors(control_, bytes, descriptors);
        if (sent.outcome == ipc::Transfer::Outcome::would_block) return;
      } catch (const std::system_error&) {
        if (!pidfd.valid()) shut_down();
        pidfd.reset();  // too many descriptors under way: the report matters more
        continue;
      }
      outbox_.pop_front();
    }
  }

  [[noreturn]] void shut_down() {
    for (const auto& [pid, id] : ids_) signal_worker(pid, SIGKILL);
    for (const auto& [pid, id] : ids_) {
      while (::wait4(pid, nullptr, 0, nullptr) < 0 && errno == EINTR) {
      }
    }
    // What escaped from the groups, and then what these leave behind.
    while (kill_children() > 0) {
      while (::wait4(-1, nullptr, 0, nullptr) < 0 && errno == EINTR) {
      }
    }
    stderr_.finish();
    ::_exit(EXIT_SUCCESS);
  }

  const int control_;
  const pid_t parent_;
  const pid_t self_;
  const WorkerMain worker_main_;
  const Inheritance* const inheritance_;
  const std::span<const int> inherited_;
  Descriptor signals_;
  StderrRelay stderr_;
  ipc::ReceivedDescriptors received_;
  std::unordered_map<pid_t, std::uint64_t> ids_;
  std::unordered_map<std::uint64_t, pid_t> pids_;
  std::deque<std::pair<TemplateReport, Descriptor>> outbox_;
};

[[noreturn]] void enter_template(int control, pid_t parent, WorkerMain worker_main, const char* name,
                                 const Inheritance* inheritance, GivenHandles& handles,
                                 std::span<const int> inherited) noexcept {
  std::vector<int> kept(inherited.begin(), inherited.end());
  kept.push_back(control);
  enter_child({.parent = parent, .death_signal = parent_death_signal, .descriptors = kept});
  handles.in_child();
  ::prctl(PR_SET_NAME, name);
  Template(control, parent, worker_main, inheritance, inherited).run();
}

}  // namespace

void run_template(int control, pid_t parent, WorkerMain worker_main, const char* name) noexcept {
  GivenHandles none{FoundHandles()};
  enter_template(control, parent, worker_main, name, nullptr, none, {});
}

TemplateProcess start_template_process(WorkerMain worker_main, std::string_view name, const Inheritance* inheritance) {
  if (!inheritance) warn_about_threads();
  remember_modules();
  prepare_throw_traces();
  flush_standard_streams();

  const StandardDescriptorsOpen standard_descriptors;
  std::array<int, 2> sockets = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets.data()) < 0) {
    throw std::system_error(errno, std::generic_category(), "socketpair");
  }
  Descriptor ours(sockets[0]);
  const Descriptor theirs(sockets[1]);

  std::array<char, 16> short_name = {};
  name.copy(short_name.data(), short_name.size() - 1);

  GivenHandles handles(inheritance ? inheritance->handles : FoundHandles());
  std::vector<int> inherited = handles.descriptors();
  if (inheritance) inherited.insert(inherited.end(), inheritance->descriptors.begin(), inheritance->descriptors.end());

  const pid_t parent = ::getpid();
  pid_t pid = -1;
  {
    const SignalsBlocked blocked;
    pid = ::fork();
    if (pid == 0) enter_template(theirs.get(), parent, worker_main, short_name.data(), inheritance, handles, inherited);
  }
  if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");

  Descriptor pidfd = open_pidfd(pid);
  if (!pidfd.valid()) {
    const int error = errno;
    ours.reset();  // the template ends by itself
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    throw std::system_error(error, std::generic_category(), "pidfd_open");
  }
  return {pid, std::move(pidfd), std::move(ours)};
}

}  // namespace cofork::detail
