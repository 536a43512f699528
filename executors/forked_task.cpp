// The life of one task of a ForkExecutor.
#include <cofork/executors/exception_codec.hpp>
#include <cofork/executors/exception_origin.hpp>
#include <cofork/executors/fork_core.hpp>
#include <cofork/executors/task_clock.hpp>
#include <cofork/executors/worker_death.hpp>
#include <csignal>
#include <cstdio>

namespace cofork::detail {

namespace {
constexpr std::chrono::seconds default_grace{1};

/// Asked for the first time when a task is about to be submitted. An executor, and the loop it is for, has one thread.
OutOfMemoryKills& out_of_memory_kills() {
  static thread_local OutOfMemoryKills kills;
  return kills;
}
}  // namespace

ForkedTask::ForkedTask(IntrusivePtr<ForkCore> core, const SubmitOptions& options, std::unique_ptr<ForkedBody> body,
                       const std::string& function_name)
    : core_(std::move(core)),
      body_(std::move(body)),
      name_(options.name.empty() ? function_name : std::string(options.name)),
      timeout_(options.timeout),
      grace_(options.grace.count() != 0 ? options.grace : default_grace),
      limits_{options.memory_limit, options.cpu_limit},
      priority_(options.priority),
      retries_(options.retries) {
  check_options(options);
  deadline_.task = kill_.task = this;
  out_of_memory_kills();
}

ForkedTask::~ForkedTask() = default;

void ForkedTask::fork(bool at_once) {
  auto child = std::make_unique<ForkedChild>(*body_, limits_, core_->stats_.workers_started + 1, at_once);
  end_ = DescriptorWatch(core_->loop_->uv(), child->pidfd(), [this] { core_->child_ended(*this); });
  child_ = std::move(child);
  if (retries_ == 0) body_.reset();
}

void ForkedTask::listen() {
  stop_listening();  // libuv takes each descriptor once
  arrival_ = DescriptorWatch(core_->loop_->uv(), child_->socket(), [this] {
    const IntrusivePtr<ForkedTask> alive(this);
    arrived();
  });
}

void ForkedTask::begin() noexcept {
  phase_ = Phase::executing;
  begun_at_ = Clock::now();
  if (timeout_.count() == 0) return;
  deadline_.start(deadline_after(timeout_), [](Timer& timer) noexcept {
    ForkedTask& late = *static_cast<TaskTimer&>(timer).task;
    // Of what it died of, this loop is only late to hear.
    if (!late.child_->has_ended()) late.stop_for(StopReason::timeout);
  });
}

void ForkedTask::stop_for(StopReason reason) noexcept {
  if (stop_reason_ != StopReason::none) return;
  stop_reason_ = reason;
  deadline_.stop();
  child_->signal(SIGTERM);
  kill_.start(deadline_after(grace_),
              [](Timer& timer) noexcept { static_cast<TaskTimer&>(timer).task->child_->signal(SIGKILL); });
}

bool ForkedTask::cancel_waiting() noexcept {
  if (!waiting()) return false;
  core_->discard(*this);
  return true;
}

bool ForkedTask::stop() noexcept {
  if (cancel_waiting()) return true;
  if (!executing()) return false;
  stop_for(StopReason::cancelled);
  return true;
}

MessageSocket::Received ForkedTask::receive_one() noexcept {
  if (!child_) return MessageSocket::Received::ended;
  IncomingMessage message;
  try {
    const MessageSocket::Received received = child_->receive(message);
    if (received != MessageSocket::Received::done) return received;
    ipc::Reader reader = message.reader();
    const auto kind = reader.value<std::uint8_t>();
    switch (static_cast<ForkedMessage>(kind)) {
      case ForkedMessage::value:
        this->received(reader);
        reader.finish();
        if (!is_stream()) set_outcome(Outcome::value);
        return received;
      case ForkedMessage::end:
        if (!is_stream()) ipc::Reader::fail("of the end of a stream");
        reader.finish();
        set_outcome(Outcome::value);
        return received;
      case ForkedMessage::error: {
        const std::exception_ptr error = decode_exception(reader, child_->pid(), name_);
        reader.finish();
        failed(error);
        return received;
      }
    }
    ipc::Reader::fail("of an unknown kind");
  } catch (...) {
    failed(std::current_exception());
  }
  return MessageSocket::Received::done;
}

void ForkedTask::note_end(const ForkedChild::End& end) noexcept {
  end_of_child_ = end;
  TaskUsage usage;
  usage.pid = child_->pid();
  usage.queued = begun_at_ - submitted_at_;
  usage.wall = Clock::now() - begun_at_;
  usage.user = std::chrono::nanoseconds(user_time(end.usage));
  usage.system = std::chrono::nanoseconds(system_time(end.usage));
  usage.max_rss = static_cast<std::size_t>(peak_memory(end.usage));
  usage_ = usage;
}

void ForkedTask::ended_without_result() noexcept {
  if (stop_reason_ == StopReason::cancelled) return set_outcome(Outcome::cancelled);
  try {
    if (stop_reason_ == StopReason::timeout) {
      char text[160];
      std::snprintf(text, sizeof text, "%.100s exceeded its timeout of %g s", name_.c_str(),
                    std::chrono::duration<double>(timeout_).count());
      failed(make_exception_from(TimeoutError(text), {child_->pid(), name_, {}}));
    } else {
      failed(worker_died());
    }
  } catch (...) {
    failed(std::current_exception());
  }
}

std::exception_ptr ForkedTask::worker_died() const {
  const ForkedChild::End& end = *end_of_child_;
  const pid_t pid = child_->pid();
  if (!end.status_known) {
    const std::string text =
        "worker " + std::to_string(pid) + " ended, and was reaped by somebody else, while it executed " + name_;
    return make_exception_from(WorkerDied(text, pid, exit_code(nullptr), name_, usage_), {pid, name_, {}});
  }
  const WorkerExit exit{0, pid, end.status, end.status_known, end.usage};
  const bool out_of_memory = exit_code(&exit) == -SIGKILL && out_of_memory_kills().rose();
  return detail::worker_died(pid, &exit, name_, limits_, child_->crash(), out_of_memory, usage_);
}

}  // namespace cofork::detail
