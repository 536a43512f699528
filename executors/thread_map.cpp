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
    : MapProgress(options), core_(std::move(core)), item_timeout_(options.item_timeout) {}

void ThreadMapBase::start() {
  begin(core_->open_inputs());
  pull_more();
}

void ThreadMapBase::stop_items() noexcept {
  const IntrusivePtr<ThreadMapBase> alive(this);
  end_input();
  stop_input();
  items_.for_each([](ThreadMapItem& item) { item.stop(); });
}

void ThreadMapBase::taken() {
  ++taken_;
  // Not for each item that is taken: the threads would be woken for each.
  const std::size_t worth_it = std::max<std::size_t>(1, window() / 4);
  if (pulled_ - taken_ + worth_it <= window()) pull_more();
}

std::size_t ThreadMapBase::window() const noexcept {
  if (unbounded_) return std::numeric_limits<std::size_t>::max();
  return buffersize_ != 0 ? buffersize_ : core_->max_workers() * items_per_thread;
}

void ThreadMapBase::pull_more() noexcept {
  if (pulling_) return;
  pulling_ = true;
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
  pulling_ = false;
  if (ended()) consumer.wake();
}

}  // namespace cofork::detail
