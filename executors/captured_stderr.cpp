#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cofork/executors/captured_stderr.hpp>
#include <new>
#include <system_error>

namespace cofork::detail {

namespace {

// As much as a pipe holds, so that a line is not taken apart.
constexpr std::size_t read_at_once = 64 * 1024;
// A pipe can be made to hold so much. A process that goes on writing is not read for ever.
constexpr std::size_t most_drained = 1024 * 1024;
// With so much that nobody has taken, living workers have to wait; what the dead have left is kept up to the second.
constexpr std::size_t enough_waiting = 64 * 1024;
constexpr std::size_t most_waiting = 1024 * 1024;
constexpr std::chrono::milliseconds patience_at_end{500};
constexpr int most_looks = 1000;

CapturedProgress* progress_of_this_worker = nullptr;

/// Without what a terminal would obey.
std::string harmless(std::string text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    if (byte(i) == 0xc2 && i + 1 < text.size() && byte(i + 1) >= 0x80 && byte(i + 1) < 0xa0)
      text[i] = text[i + 1] = '?';  // U+0080 to U+009F
    if ((byte(i) < ' ' && text[i] != '\n' && text[i] != '\t') || byte(i) == 0x7f) text[i] = '?';
  }
  return text;
}

bool takes_more(int descriptor, std::chrono::milliseconds patience) {
  pollfd target = {descriptor, POLLOUT, 0};
  return ::poll(&target, 1, static_cast<int>(patience.count())) == 1;
}

}  // namespace

CapturedStderr::CapturedStderr() {
  std::array<int, 2> ends = {-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) < 0) throw std::system_error(errno, std::generic_category(), "pipe2");
  reader_.reset(ends[0]);
  writer_.reset(ends[1]);
  if (::fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0) throw std::system_error(errno, std::generic_category(), "fcntl");
  void* const memory =
      ::mmap(nullptr, sizeof(CapturedProgress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
  progress_ = new (memory) CapturedProgress;
}

CapturedStderr::~CapturedStderr() { ::munmap(progress_, sizeof *progress_); }

void CapturedStderr::forked(pid_t worker) noexcept {
  worker_ = worker;
  writer_.reset();
  // The other workers have no use for it; with it they could do no more than falsify what is told.
  ::madvise(progress_, sizeof *progress_, MADV_DONTFORK);
}

std::string_view CapturedStderr::read(std::span<char> buffer) {
  ssize_t count = -1;
  progress_->arrived = 2 * arrived_ + 1;
  do {
    count = ::read(reader_.get(), buffer.data(), buffer.size());
  } while (count < 0 && errno == EINTR);
  if (count == 0) reader_.reset();
  const std::string_view text(buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  arrived_ += text.size();
  progress_->arrived = 2 * arrived_;
  last_ += text.substr(text.size() - std::min(text.size(), most_told));
  if (last_.size() > 2 * most_told) last_.erase(0, last_.size() - most_told);
  return text;
}

std::string CapturedStderr::told() const {
  const std::uint64_t since_begin = arrived_ - std::min(progress_->task_began_at.load(), arrived_);
  const std::size_t size = std::min<std::uint64_t>(since_begin, std::min(last_.size(), most_told));
  std::string text = last_.substr(last_.size() - size);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (size < since_begin) text.erase(0, text.find('\n') + 1);  // from the beginning of a line, if there is one
  return harmless(std::move(text));
}

void enter_captured_worker(const CapturedStderr* captured) noexcept {
  progress_of_this_worker = nullptr;  // of the worker that has a pool itself, perhaps
  if (captured && ::dup2(captured->writer_.get(), STDERR_FILENO) >= 0) progress_of_this_worker = captured->progress_;
}

void begin_captured_task() noexcept {
  if (!progress_of_this_worker) return;
  CapturedProgress& progress = *progress_of_this_worker;
  for (int look = 1;; ++look) {
    const std::uint64_t arrived = progress.arrived;
    int on_its_way = 0;
    if (::ioctl(STDERR_FILENO, FIONREAD, &on_its_way) < 0) on_its_way = 0;
    progress.task_began_at = arrived / 2 + static_cast<std::uint64_t>(on_its_way);
    // What the template reads in between is in neither number, and would be taken for the next task's.
    if ((arrived % 2 == 0 && progress.arrived == arrived) || look == most_looks) return;
    ::sched_yield();
  }
}

CapturedStderr* StderrRelay::add() noexcept {
  try {
    if (target_ < 0) open_target();
    return &workers_.emplace_back();
  } catch (const std::exception&) {
    return nullptr;
  }
}

void StderrRelay::open_target() {
  struct stat status = {};
  if (::fstat(STDERR_FILENO, &status) < 0) throw std::system_error(errno, std::generic_category(), "fstat");
  // O_NONBLOCK belongs to the open file, which other programs share; so another one is opened. Where that is not
  // allowed little is written at once, when there is room for it.
  if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode))
    own_target_.reset(::open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  buffer_.resize(read_at_once);
  most_at_once_ = own_target_.valid() || S_ISREG(status.st_mode) ? read_at_once : PIPE_BUF;
  target_ = own_target_.valid() ? own_target_.get() : STDERR_FILENO;
}

void StderrRelay::watch(std::vector<pollfd>& watched) const {
  if (workers_.empty() && outgoing_.empty()) return;
  const bool room = outgoing_.size() < enough_waiting;
  watched.push_back({outgoing_.empty() ? -1 : target_, POLLOUT, 0});
  for (const CapturedStderr& worker : workers_) watched.push_back({room ? worker.reader() : -1, POLLIN, 0});
}

void StderrRelay::relay(std::span<const pollfd> watched) {
  if (watched.empty()) return;
  auto polled = watched.begin() + 1;
  for (auto worker = workers_.begin(); worker != workers_.end(); ++polled) {
    if (polled->revents != 0) read(*worker);
    worker = worker->over() ? workers_.erase(worker) : std::next(worker);
  }
  write();
}

std::string StderrRelay::ended(pid_t pid) {
  const auto worker = std::find_if(workers_.begin(), workers_.end(), [&](auto& each) { return each.worker() == pid; });
  if (worker == workers_.end()) return {};
  drain(*worker);
  write();
  worker->reaped();
  return worker->told();
}

void StderrRelay::finish() {
  for (CapturedStderr& worker : workers_) drain(worker);
  const auto end = std::chrono::steady_clock::now() + patience_at_end;
  for (write(); !outgoing_.empty(); write()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0 || !takes_more(target_, left)) return;
  }
}

bool StderrRelay::read(CapturedStderr& worker) {
  const std::string_view text = worker.read(buffer_);
  append(text);
  return !text.empty();
}

// Processes that the worker has started may hold its pipe open: its end is not waited for.
void StderrRelay::drain(CapturedStderr& worker) {
  for (std::size_t count = 0; count < most_drained && read(worker); count += buffer_.size()) {
  }
}

void StderrRelay::append(std::string_view text) {
  if (text.empty()) return;
  const bool full = outgoing_.size() > most_waiting;
  if (!full) outgoing_ += text;
  if (full && !cut_) outgoing_ += "\ncofork: something that dead workers wrote to standard error is lost here\n";
  cut_ = full;
}

void StderrRelay::write() {
  std::size_t written = 0;
  while (written < outgoing_.size()) {
    if (!own_target_.valid() && !takes_more(target_, {})) break;
    const std::size_t size = std::min(outgoing_.size() - written, most_at_once_);
    const ssize_t count = ::write(target_, outgoing_.data() + written, size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) break;
    written += count < 0 ? outgoing_.size() - written : static_cast<std::size_t>(count);  // or nobody can read it
  }
  outgoing_.erase(0, written);
}

}  // namespace cofork::detail
