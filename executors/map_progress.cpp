#include <cofork/executors/map_progress.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstdio>

namespace cofork::detail {

MapProgress::MapProgress(const MapOptions& options)
    : ordered_(options.ordered), buffersize_(options.buffersize), timeout_(options.timeout) {
  check_options(options);
  deadline_.map = this;
}

void MapProgress::begin(List<OpenInput>& inputs) {
  if (timeout_.count() != 0)
    deadline_.start(deadline_after(timeout_),
                    [](Timer& timer) noexcept { static_cast<Deadline&>(timer).map->expire(); });
  inputs.push_back(*this);
}

/// What was done by now can still be taken.
void MapProgress::expire() noexcept {
  const IntrusivePtr<MapProgress> alive(this);
  expired_ = true;
  cut_off_ = !input_ended_ && left() != 0;
  stop_items();
  consumer.wake();
}

void MapProgress::end_input() noexcept {
  input_ended_ = true;
  OpenInput::unlink();
}

void MapProgress::close() noexcept {
  if (closed_) return;
  closed_ = true;
  deadline_.stop();
  stop_items();
  forget_results();
  consumer.wake();
}

bool MapProgress::check_next() {
  if (closed_) return false;
  if (has_next()) return true;
  if (ended() || !expired_) return false;
  close();
  char text[80];
  std::snprintf(text, sizeof text, "the map exceeded its timeout of %g s",
                std::chrono::duration<double>(timeout_).count());
  throw TimeoutError(text);
}

std::optional<std::uint64_t> MapProgress::expected() const {
  if (closed_) return 0;
  const std::uint64_t in_hand = pulled_ - taken_;
  if (input_ended_) return in_hand;
  const std::optional<std::uint64_t> more = left();
  return more ? std::optional(in_hand + *more) : std::nullopt;
}

void MapProgress::fail_item(std::uint64_t index, std::exception_ptr error) noexcept {
  if (!wanted(index)) return;
  store_error(index, std::move(error));
  stored();
}

void MapProgress::fail_last(std::exception_ptr error) noexcept {
  if (closed_ || input_ended_) return;
  end_input();
  expect_item();
  fail_item(pulled_++, std::move(error));
}

void MapProgress::pool_closes() noexcept {
  // What has an end, and may be executed without waiting for results to be taken, is, as if it had been from the first.
  if (buffersize_ == 0 && left()) {
    unbounded_ = true;
    return pull_more();
  }
  stop_input();
  fail_last(std::make_exception_ptr(InvalidStateError("the pool was shut down: it takes no further work")));
}

void MapProgress::pool_ends(const std::exception_ptr& error) noexcept {
  stop_input();
  fail_last(error ? error : std::make_exception_ptr(CancelledError("the pool was closed")));
}

}  // namespace cofork::detail
