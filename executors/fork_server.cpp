#include <cofork/executors/early_fork_server.hpp>
#include <cofork/executors/fork_server.hpp>

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <cofork/executors/fork_advice.hpp>
#include <cofork/ipc/descriptor_passing.hpp>
#include <cofork/runtime/errors.hpp>
#include <csignal>
#include <deque>
#include <limits>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cofork::detail {
namespace {

using ipc::Descriptor;
using ipc::Transfer;

constexpr unsigned signal_process_group = 4;  // PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9

void check(int result, const char* operation) {
  if (result < 0) throw std::system_error(-result, std::generic_category(), operation);
}

// A uv_poll_t; its memory is libuv's from the destructor to the close callback.
class Watch {
 public:
  Watch() = default;
  Watch(uv_loop_t* loop, int descriptor, void* owner, uv_poll_cb callback) : callback_(callback) {
    auto handle = std::make_unique<uv_poll_t>();
    check(uv_poll_init(loop, handle.get(), descriptor), "uv_poll_init");
    handle_ = handle.release();
    handle_->data = owner;
    if (const int result = uv_poll_start(handle_, events_, callback); result < 0) {
      reset();
      check(result, "uv_poll_start");
    }
  }
  Watch(Watch&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)), callback_(other.callback_), events_(other.events_) {}
  Watch& operator=(Watch&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(callback_, other.callback_);
    std::swap(events_, other.events_);
    return *this;
  }
  ~Watch() { reset(); }

  void set_events(int events) {
    if (handle_ == nullptr || events == events_) return;
    check(uv_poll_start(handle_, events, callback_), "uv_poll_start");
    events_ = events;
  }

  void reset() {
    if (handle_ == nullptr) return;
    uv_close(reinterpret_cast<uv_handle_t*>(std::exchange(handle_, nullptr)),
             [](uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); });
  }

  // For a forked copy of the process, where the loop must not be touched.
  void abandon() { handle_ = nullptr; }

 private:
  uv_poll_t* handle_ = nullptr;
  uv_poll_cb callback_ = nullptr;
  int events_ = UV_READABLE;
};

bool has_ended(int pidfd, int timeout) {
  pollfd ended = {pidfd, POLLIN, 0};
  int count = 0;
  do {
    count = ::poll(&ended, 1, timeout);
  } while (count < 0 && errno == EINTR);
  return count != 0;
}

void send_signal(int pidfd, int signo, unsigned flags) {
  ::syscall(SYS_pidfd_send_signal, pidfd, signo, nullptr, flags);
}

void kill_group(int pidfd) {
  send_signal(pidfd, SIGKILL, signal_process_group);
  send_signal(pidfd, SIGKILL, 0);  // for older kernels, which refuse the first
}

TemplateProcess make_template(WorkerMain worker_main, std::string_view name, StartMethod method) {
  if (method != StartMethod::fork) {
    if (auto early = ask_early_fork_server(worker_main, name)) return std::move(*early);
    if (method == StartMethod::forkserver) throw InvalidStateError(fork_server_has_ended);
    advise_about_size();
  }
  return start_template_process(worker_main, name);
}

}  // namespace

class ForkServer::State {
 public:
  State(uv_loop_t* loop, Events& events, TemplateProcess server) : State(loop, events, std::move(server), Unwatched()) {
    control_ = Watch(loop, server_.control.get(), this,
                     [](uv_poll_t* handle, int, int) { static_cast<State*>(handle->data)->on_control(); });
    death_ = Watch(loop, server_.pidfd.get(), this,
                   [](uv_poll_t* handle, int, int) { static_cast<State*>(handle->data)->on_death(); });
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  ~State() {
    if (destroyed_ != nullptr) *destroyed_ = true;
    if (::getpid() != owner_) {
      control_.abandon();
      death_.abandon();
      return;
    }
    control_.reset();
    death_.reset();
    if (!lost_) {
      ::shutdown(server_.control.get(), SHUT_WR);
      send_signal(server_.pidfd.get(), SIGCONT, 0);  // someone may have stopped it
      has_ended(server_.pidfd.get(), -1);
    }
    // Normally every worker is gone by now; but the template may have been killed.
    silent_ = true;
    receive(std::numeric_limits<int>::max());
    bury_template();
    for (const auto& [id, worker] : workers_) {
      if (worker.pidfd.valid()) has_ended(worker.pidfd.get(), -1);
    }
  }

  void start(std::uint64_t id, std::span<const int> descriptors, bool capture_stderr) {
    if (descriptors.size() > ipc::max_descriptors_per_message) {
      throw std::invalid_argument("ForkServer::start: too many descriptors");
    }
    if (lost_) return;
    if (!workers_.try_emplace(id).second) throw std::invalid_argument("ForkServer::start: the id is in use");
    send({TemplateRequest::Kind::start, static_cast<std::uint32_t>(descriptors.size()), id, capture_stderr},
         descriptors);
  }

  void signal(std::uint64_t id, int signo) {
    if (lost_ || !workers_.contains(id)) return;
    send({TemplateRequest::Kind::signal, static_cast<std::uint32_t>(signo), id}, {});
  }

  bool worker_has_ended(std::uint64_t id) const {
    const auto worker = workers_.find(id);
    return worker != workers_.end() && worker->second.pidfd.valid() && has_ended(worker->second.pidfd.get(), 0);
  }

  bool has_news() const {
    pollfd control = {server_.control.get(), POLLIN, 0};
    return !lost_ && ::poll(&control, 1, 0) > 0;
  }

  pid_t pid() const { return server_.pid; }

 private:
  struct Worker {
    pid_t pid = 0;     // 0 until the template has answered
    Descriptor pidfd;  // for the case that the template dies
  };
  struct Outgoing {
    TemplateRequest request;
    std::vector<Descriptor> descriptors;
    int error = 0;  // why it cannot be sent
  };

  struct Unwatched {};
  State(uv_loop_t* loop, Events& events, TemplateProcess&& server, Unwatched)
      : loop_(loop), events_(events), server_(std::move(server)) {}

  // False if the call destroyed this object.
  template <class F>
  bool tell(F call) {
    if (silent_) return true;
    bool destroyed = false;
    destroyed_ = &destroyed;
    call(events_);
    if (destroyed) return false;
    destroyed_ = nullptr;
    return true;
  }

  void send(const TemplateRequest& request, std::span<const int> descriptors) {
    Outgoing outgoing{request, {}, 0};
    if (outbox_.empty() && try_send(outgoing, descriptors)) return;
    try {
      for (const int descriptor : descriptors) outgoing.descriptors.push_back(Descriptor::duplicate(descriptor));
    } catch (const std::system_error& error) {
      if (outgoing.error == 0) outgoing.error = error.code().value();
    }
    outbox_.push_back(std::move(outgoing));
    control_.set_events(UV_READABLE | UV_WRITABLE);
  }

  // True if there is nothing left to do for it; otherwise it is to be tried later, or has an error.
  bool try_send(Outgoing& outgoing, std::span<const int> descriptors) {
    try {
      const auto bytes = std::as_bytes(std::span(&outgoing.request, 1));
      const Transfer sent = ipc::send_with_descriptors(server_.control.get(), bytes, descriptors);
      // Closed: the template is dying, which will be seen.
      return sent.outcome != Transfer::Outcome::would_block;
    } catch (const std::system_error& error) {
      outgoing.error = error.code().value();
      return false;
    }
  }

  bool send_queued() {
    while (!outbox_.empty()) {
      Outgoing& next = outbox_.front();
      if (next.error == 0) {
        std::vector<int> descriptors;
        for (const Descriptor& descriptor : next.descriptors) descriptors.push_back(descriptor.get());
        if (!try_send(next, descriptors) && next.error == 0) break;
      }
      const Outgoing sent = std::move(next);
      outbox_.pop_front();
      if (sent.error == 0 || sent.request.kind != TemplateRequest::Kind::start) continue;
      workers_.erase(sent.request.id);
      if (!tell([&](Events& events) { events.worker_failed(sent.request.id, sent.error); })) return false;
    }
    control_.set_events(outbox_.empty() ? UV_READABLE : UV_READABLE | UV_WRITABLE);
    return true;
  }

  void on_control() {
    constexpr int fair_share = 64;
    if (send_queued()) receive(fair_share);
  }

  // False if a callback destroyed this object.
  bool receive(int limit) {
    TemplateReport report = {};
    const auto bytes = std::as_writable_bytes(std::span(&report, 1));
    for (int count = 0; count < limit; ++count) {
      Transfer transfer = {Transfer::Outcome::closed, 0};
      try {
        transfer = ipc::receive_with_descriptors(server_.control.get(), bytes, received_);
      } catch (const std::system_error&) {
        send_signal(server_.pidfd.get(), SIGKILL, 0);  // no way to talk to it: start over with another
      }
      if (transfer.outcome == Transfer::Outcome::would_block) return true;
      if (transfer.outcome == Transfer::Outcome::closed) {
        control_.reset();  // its death is about to be seen
        return true;
      }
      if (!handle(report)) return false;
    }
    return true;
  }

  bool handle(const TemplateReport& report) {
    const auto worker = workers_.find(report.id);
    if (worker == workers_.end()) return true;
    if (report.kind == TemplateReport::Kind::started) {
      worker->second.pid = report.pid;
      if (!received_.descriptors.empty()) worker->second.pidfd = std::move(received_.descriptors.front());
      return tell([&](Events& events) { events.worker_started(report.id, report.pid); });
    }
    workers_.erase(worker);
    if (report.kind == TemplateReport::Kind::failed) {
      return tell([&](Events& events) { events.worker_failed(report.id, report.value); });
    }
    return tell([&](Events& events) {
      const std::string_view text(report.text.data(), std::min<std::size_t>(report.text_size, report.text.size()));
      events.worker_exited({report.id, report.pid, report.value, true, report.usage, std::string(text)});
    });
  }

  void on_death() {
    if (!has_ended(server_.pidfd.get(), 0)) return;
    control_.reset();
    death_.reset();
    lost_ = true;
    if (!receive(std::numeric_limits<int>::max())) return;
    bury_template();
    await_workers();
  }

  // Reports the workers of a dead template as each is seen to be gone, watching one at a time.
  void await_workers() {
    while (!workers_.empty()) {
      const auto worker = workers_.begin();
      if (const int pidfd = worker->second.pidfd.get(); pidfd >= 0 && !has_ended(pidfd, 0)) {
        if (watch_death_of(worker->second)) return;
        has_ended(pidfd, -1);
      }
      death_.reset();
      const WorkerExit exit = {worker->first, worker->second.pid, 0, false, {}};
      workers_.erase(worker);
      if (!tell([&](Events& events) { events.worker_exited(exit); })) return;
    }
    tell([](Events& events) { events.server_lost(); });
  }

  bool watch_death_of(const Worker& worker) {
    try {
      death_.reset();
      death_ = Watch(loop_, worker.pidfd.get(), this,
                     [](uv_poll_t* handle, int, int) { static_cast<State*>(handle->data)->await_workers(); });
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }

  // Once it is dead and its last reports are read: reaps it and kills what it has left behind.
  void bury_template() {
    if (!server_.pidfd.valid()) return;
    // ECHILD if the program ignores SIGCHLD or waits for any child: it is gone in any case.
    while (server_.is_child && ::waitpid(server_.pid, nullptr, WNOHANG) < 0 && errno == EINTR) {
    }
    server_.pidfd.reset();
    outbox_.clear();
    std::erase_if(workers_, [](const auto& entry) { return entry.second.pid == 0; });
    for (const auto& [id, worker] : workers_) {
      if (worker.pidfd.valid()) kill_group(worker.pidfd.get());
    }
  }

  uv_loop_t* const loop_;
  Events& events_;
  const pid_t owner_ = ::getpid();
  TemplateProcess server_;
  bool lost_ = false;
  bool silent_ = false;
  bool* destroyed_ = nullptr;
  std::unordered_map<std::uint64_t, Worker> workers_;
  std::deque<Outgoing> outbox_;
  ipc::ReceivedDescriptors received_;
  Watch control_;  // the watches are closed before the descriptors that they watch
  Watch death_;    // of the template, later of a worker
};

ForkServer::ForkServer(uv_loop_t* loop, Events& events, WorkerMain worker_main, std::string_view name,
                       StartMethod method)
    : state_(std::make_unique<State>(loop, events, make_template(worker_main, name, method))) {}

ForkServer::ForkServer(uv_loop_t* loop, Events& events, WorkerMain worker_main, std::string_view name,
                       const Inheritance& inheritance)
    : state_(std::make_unique<State>(loop, events, start_template_process(worker_main, name, &inheritance))) {}

ForkServer::~ForkServer() = default;

void ForkServer::start(std::uint64_t id, std::span<const int> descriptors, bool capture_stderr) {
  state_->start(id, descriptors, capture_stderr);
}
void ForkServer::signal(std::uint64_t id, int signo) { state_->signal(id, signo); }
bool ForkServer::worker_has_ended(std::uint64_t id) const { return state_->worker_has_ended(id); }
bool ForkServer::has_news() const { return state_->has_news(); }
pid_t ForkServer::pid() const { return state_->pid(); }

}  // namespace cofork::detail
