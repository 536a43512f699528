#include <algorithm>
#include <cofork/executors/thread_map.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstdio>
#include <limits>

namespace cofork::detail {

namespace {
// Items for each thread that are in flight or wait to be taken.
constexpr std::size_t items_per_thread = 16;
}  // namespace

// Items.

ThreadMapItem::ThreadMapItem(IntrusivePtr<ThreadMapBase> job, std::uint64_t index)
    : ThreadWork(job->core_, 0, job->item_timeout_), job_(std::move(job)), index_(index) {
  job_->items_.push_back(*this);
}

void ThreadMapItem::executed() noexcept {
  static_cast<Link<ThreadMapItem>&>(*this).unlink();
  if (!given_up_) core().count(deliver());
}

void ThreadMapItem::give_up(std::exception_ptr error) noexcept {
  if (given_up_) return;
  given_up_ = true;
  core().count(error ? ThreadPoolCore::Ended::error : ThreadPoolCore::Ended::cancelled);
  if (!error && job_->expired_) return;  // which says why
  job_->fail_item(index_, error ? std::move(error) : std::make_exception_ptr(CancelledError()));
}

std::string ThreadMapItem::name() const { return job_->function_name(); }

void ThreadMapItem::stop() noexcept {
  const IntrusivePtr<ThreadMapItem> alive(this);
  if (core().take_back(*this)) {
    static_cast<Link<ThreadMapItem>&>(*this).unlink();
    give_up(nullptr);
  } else {
    request_stop();
  }
}

// The map.

ThreadMapBase::ThreadMapBase(IntrusivePtr<ThreadPoolCore> core, const MapOptions& options)
    : ordered_(options.ordered),
      core_(std::move(core)),
      buffersize_(options.buffersize),
      timeout_(options.timeout),
      item_timeout_(options.item_timeout) {
  check_local(options);
  deadline_.job = this;
}

void ThreadMapBase::start() {
  if (timeout_.count() != 0) {
    deadline_.start(deadline_after(timeout_), [](Timer& timer) noexcept {
      ThreadMapBase& job = *static_cast<Deadline&>(timer).job;
      const IntrusivePtr<ThreadMapBase> alive(&job);
      job.expire();
    });
  }
  core_->open_inputs().push_back(*this);
  fill();
}

/// What was done by now can still be taken.
void ThreadMapBase::expire() noexcept {
  expired_ = true;
  cut_off_ = !input_ended_ && left() != 0;
  stop_items();
  consumer.wake();
}

void ThreadMapBase::end_input() noexcept {
  input_ended_ = true;
  OpenInput::unlink();
}

void ThreadMapBase::close() noexcept {
  if (closed_) return;
  closed_ = true;
  deadline_.stop();
  stop_items();
  forget_results();
  consumer.wake();
}

void ThreadMapBase::stop_items() noexcept {
  const IntrusivePtr<ThreadMapBase> alive(this);
  end_input();
  stop_input();
  items_.for_each([](ThreadMapItem& item) { item.stop(); });
}

bool ThreadMapBase::check_next() {
  if (closed_) return false;
  if (has_next()) return true;
  if (at_end() || !expired_) return false;
  close();
  char text[80];
  std::snprintf(text, sizeof text, "the map exceeded its timeout of %g s",
                std::chrono::duration<double>(timeout_).count());
  throw TimeoutError(text);
}

void ThreadMapBase::taken() {
  ++taken_;
  // Not for each item that is taken: the threads would be woken for each.
  const std::size_t worth_it = std::max<std::size_t>(1, window() / 4);
  if (pulled_ - taken_ + worth_it <= window()) fill();
}

std::size_t ThreadMapBase::window() const noexcept {
  if (unbounded_) return std::numeric_limits<std::size_t>::max();
  return buffersize_ != 0 ? buffersize_ : core_->max_workers() * items_per_thread;
}

void ThreadMapBase::fill() {
  if (filling_) return;
  filling_ = true;
  while (!closed_ && !input_ended_ && pulled_ - taken_ < window()) {
    try {
      const Pulled pulled = pull();
      if (pulled == Pulled::later) break;
      if (pulled == Pulled::end) {
        end_input();
        break;
      }
      expect_item();
      ++pulled_;
    } catch (...) {
      expect_item();
      fail_item(pulled_++, std::current_exception());
    }
  }
  filling_ = false;
  if (at_end()) consumer.wake();
}

void ThreadMapBase::input_failed(std::exception_ptr error) noexcept { fail_next_item(std::move(error)); }

/// As the last one.
void ThreadMapBase::fail_next_item(std::exception_ptr error) noexcept {
  if (closed_ || input_ended_) return;
  end_input();
  expect_item();
  fail_item(pulled_++, std::move(error));
}

void ThreadMapBase::fail_item(std::uint64_t index, std::exception_ptr error) noexcept {
  if (!wanted(index)) return;
  store_error(index, std::move(error));
  stored();
}

void ThreadMapBase::pool_closes() noexcept {
  // What has an end, and may be run without waiting for results to be taken, is run as if it had been from the first.
  if (buffersize_ == 0 && left()) {
    unbounded_ = true;
    return fill();
  }
  stop_input();
  fail_next_item(std::make_exception_ptr(InvalidStateError("the pool was shut down: it takes no further work")));
}

void ThreadMapBase::pool_ends(const std::exception_ptr& error) noexcept {
  stop_input();
  fail_next_item(error ? error : std::make_exception_ptr(CancelledError("the pool was closed")));
}

}  // namespace cofork::detail
