#include <cofork/executors/progress.hpp>
#include <cofork/executors/progress_bar.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <stdexcept>

namespace cofork {

namespace {
using detail::Clock;
}

class Progress::State final : public detail::ProgressState {
 public:
  State(const ProgressOptions& options, Callback callback)
      : interval_(options.interval), given_total_(options.total), callback_(std::move(callback)) {
    if (options.interval.count() < 0) throw std::invalid_argument("ProgressOptions::interval is negative");
    if (options.bar) bar_.emplace(options.descriptor, options.label);
    later_.state = this;
  }

  void began(std::optional<std::uint64_t> expected) override {
    if (!begun_at_) begun_at_ = Clock::now();
    if (streams_++ == 0) early_ = false;
    if (expected)
      known_total_ += *expected;
    else
      all_known_ = false;
    changed();
  }

  void took(bool failed) override {
    ++done_;
    if (failed) ++failed_;
    changed();
  }

  void ended(bool early) noexcept override {
    early_ |= early;
    if (--streams_ > 0 || !open_) return;
    later_.stop();
    if (early_) {
      if (bar_) bar_->erase();
      return;
    }
    ended_at_ = Clock::now();
    tell();
    if (bar_) bar_->end_line();
  }

  /// The `Progress` ends.
  void close() noexcept {
    open_ = false;
    later_.stop();
    if (bar_) bar_->erase();
  }

  ProgressReport report() const {
    ProgressReport report;
    report.done = done_;
    report.failed = failed_;
    report.finished = begun_at_ && streams_ == 0 && !early_;
    if (given_total_ != 0)
      report.total = given_total_;
    else if (begun_at_ && all_known_)
      report.total = known_total_;
    if (!begun_at_) return report;
    report.elapsed = (report.finished ? ended_at_ : Clock::now()) - *begun_at_;
    const double seconds = std::chrono::duration<double>(report.elapsed).count();
    if (seconds > 0) report.rate = static_cast<double>(done_) / seconds;
    if (report.total && report.rate > 0) {
      const double more = *report.total > done_ ? static_cast<double>(*report.total - done_) : 0;
      const double most = std::chrono::duration<double>(std::chrono::nanoseconds::max()).count() / 2;
      report.left = std::chrono::duration_cast<std::chrono::nanoseconds>(
          std::chrono::duration<double>(std::min(more / report.rate, most)));
    }
    return report;
  }

 private:
  /// Tells now, or as soon as the interval allows.
  void changed() {
    if (!open_ || (!bar_ && !callback_) || later_.active()) return;
    const Clock::time_point now = Clock::now();
    if (told_at_ && now - *told_at_ < interval_) {
      later_.start(*told_at_ + interval_,
                   [](detail::Timer& timer) noexcept { static_cast<Later&>(timer).state->tell(); });
      return;
    }
    tell();
  }

  void tell() noexcept {
    const ProgressReport now = report();
    told_at_ = Clock::now();  // not before: reports are the interval apart as they tell it themselves
    if (bar_) bar_->draw(now);
    if (callback_) callback_(now);
  }

  const std::chrono::nanoseconds interval_;
  const std::uint64_t given_total_;
  const Callback callback_;
  std::optional<detail::ProgressBar> bar_;
  std::uint64_t done_ = 0, failed_ = 0, known_total_ = 0;
  bool all_known_ = true;
  std::size_t streams_ = 0;  // that are watched and have not ended
  bool early_ = false;       // one of them was closed
  bool open_ = true;
  std::optional<Clock::time_point> begun_at_, told_at_;
  Clock::time_point ended_at_;
  struct Later : detail::Timer {
    State* state = nullptr;
  };
  Later later_;
};

Progress::Progress(ProgressOptions options) : Progress(options, nullptr) {}

Progress::Progress(ProgressOptions options, Callback callback)
    : state_(std::make_shared<State>(options, std::move(callback))) {}

Progress::~Progress() { static_cast<State&>(*state_).close(); }

ProgressReport Progress::report() const { return static_cast<const State&>(*state_).report(); }

}  // namespace cofork
