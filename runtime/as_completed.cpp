#include <cofork/runtime/as_completed.hpp>
#include <cofork/runtime/errors.hpp>
#include <string>

namespace cofork::detail {

Completions::Completions(States states, AsCompletedOptions options) : FutureSet(std::move(states)) {
  if (options.timeout) deadline_ = deadline_after(*options.timeout);
  timer_.consumer = &consumer_;
  ended_.reserve(size());
  for (std::size_t i = 0; i < size(); ++i)
    if (state(i)->done()) ended_.push_back(i);
  listen();
}

bool Completions::ready() { return closed_ || taken_ < ended_.size() || taken_ == size() || late(); }

bool Completions::wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context) {
  consumer_.wait(waiter, consumer, context);
  if (deadline_) timer_.start(*deadline_, &OwnTimer::expire);
  return true;
}

std::optional<std::size_t> Completions::take() {
  if (closed_ || taken_ == size()) return std::nullopt;
  if (taken_ == ended_.size()) take_those_done();
  if (taken_ == ended_.size()) {
    const std::size_t unfinished = size() - taken_;
    close();
    throw TimeoutError(std::to_string(unfinished) + " (of " + std::to_string(size()) + ") futures unfinished");
  }
  const std::size_t index = ended_[taken_++];
  state(index) = {};
  return index;
}

void Completions::close() noexcept {
  if (closed_) return;
  closed_ = true;
  timer_.stop();
  stop_listening();
  for (std::size_t i = 0; i < size(); ++i)
    if (state(i) && !state(i)->done()) state(i)->stop_for_awaiter();
}

void Completions::future_ended(std::size_t index) noexcept {
  ended_.push_back(index);
  consumer_.wake();
}

// Of those that ended in this very turn nobody has heard yet.
void Completions::take_those_done() noexcept {
  for (std::size_t i = 0; i < size(); ++i) {
    if (!listens_to(i) || !state(i)->done()) continue;
    stop_listening(i);
    ended_.push_back(i);
  }
}

}  // namespace cofork::detail
