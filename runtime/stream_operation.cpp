#include <algorithm>
#include <cerrno>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/stream_operation.hpp>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace cofork::detail {

bool StreamOperation::await_ready() {
  state_->begin(*this, what_);
  phase_ = Phase::under_way;
  if (what_ == DescriptorPoll::For::writing && current_loop && state_->others_turn(current_loop->turn())) {
    others_first_ = true;
    return false;
  }
  return attempt_once();
}

bool StreamOperation::attempt_once() noexcept {
  try {
    if (!proceed()) return false;
  } catch (...) {
    failure_ = std::current_exception();
  }
  phase_ = Phase::over;
  return true;
}

bool StreamOperation::attempt() noexcept {
  if (what_ == DescriptorPoll::For::reading) state_->look_again();
  return attempt_once();
}

bool StreamOperation::suspend(std::coroutine_handle<> handle, Context* context) {
  const bool reads = what_ == DescriptorPoll::For::reading;
  if (context && context->cancelled()) {
    was_cancelled_ = true;
    return false;
  }
  Waiter::suspend(handle, context, reads ? "bytes of a stream" : "room in a stream", &IoOperation::on_cancel);
  if (others_first_ && attempt())
    resume_later();
  else
    state_->poll().wait(*this, state_->descriptor(), what_);
  return true;
}

void StreamOperation::stream_closed() noexcept {
  if (phase_ == Phase::under_way && !cancelled()) {
    failure_ =
        std::make_exception_ptr(std::system_error(ECANCELED, std::generic_category(),
                                                  (what_ == DescriptorPoll::For::reading ? "read from " : "write to ") +
                                                      state_->subject() + ": the stream was closed"));
    phase_ = Phase::over;
    unlink();
    if (current_loop) resume_later();
  }
}

void StreamOperation::leave_now() noexcept {
  // One who gave up without a turn of the loop has not looked at what may have arrived: the next one must.
  if (phase_ == Phase::under_way && what_ == DescriptorPoll::For::reading) state_->stopped_waiting();
  state_->end(*this, what_);
  phase_ = Phase::left;
}

void StreamOperation::fail() const {
  if (failure_) std::rethrow_exception(failure_);
  throw CancelledError();
}

bool ReadSome::proceed() {
  if (into_.empty()) return true;
  count_ = state_->buffer().take(into_);
  if (count_ > 0) return true;
  const std::ptrdiff_t count = state_->receive(into_);
  if (count == StreamState::wait_first) return false;
  count_ = static_cast<std::size_t>(count);
  return true;
}

bool ReadExactly::proceed() {
  // Short pieces are read ahead, so that one system call serves several of them.
  constexpr std::size_t is_short = 1024;
  while (true) {
    count_ += state_->buffer().take(into_.subspan(count_));
    const std::span<std::byte> rest = into_.subspan(count_);
    if (rest.empty()) return true;
    const bool ahead = rest.size() < is_short;
    const std::ptrdiff_t count = state_->receive(ahead ? state_->buffer().room() : rest);
    if (count == StreamState::wait_first) return false;
    if (count == 0)
      throw EndOfFile("read from " + state_->subject() + ": the stream ended after " + std::to_string(count_) + " of " +
                      std::to_string(into_.size()) + " bytes");
    if (ahead)
      state_->buffer().filled(static_cast<std::size_t>(count));
    else
      count_ += static_cast<std::size_t>(count);
  }
}

void ReadExactly::await_resume() {
  finish();
  count_ = 0;
}

bool ReadDelimited::proceed() {
  ReadBuffer& buffer = state_->buffer();
  while (true) {
    const std::span<const std::byte> bytes = buffer.bytes();
    const std::size_t searchable = std::min(bytes.size(), limit_);
    const void* const found =
        searchable > searched_ ? std::memchr(bytes.data() + searched_, delimiter_, searchable - searched_) : nullptr;
    if (found) {
      const auto size = static_cast<std::size_t>(static_cast<const std::byte*>(found) - bytes.data()) + 1;
      text_.assign(reinterpret_cast<const char*>(bytes.data()), size);
      buffer.consume(size);
      return true;
    }
    searched_ = searchable;
    if (bytes.size() >= limit_)
      throw std::length_error("read from " + state_->subject() + ": no delimiter in the first " +
                              std::to_string(limit_) + " bytes");
    const std::ptrdiff_t count = state_->receive(buffer.room());
    if (count == StreamState::wait_first) return false;
    if (count > 0) {
      buffer.filled(static_cast<std::size_t>(count));
      continue;
    }
    if (at_end_ == AtEnd::fails)
      throw EndOfFile("read from " + state_->subject() + ": the stream ended before the delimiter");
    const std::span<const std::byte> last = buffer.bytes();
    text_.assign(reinterpret_cast<const char*>(last.data()), last.size());
    buffer.consume(last.size());
    return ended_ = true;
  }
}

std::string ReadUntil::await_resume() {
  finish();
  return std::exchange(text_, {});
}

std::optional<std::string> ReadLine::await_resume() {
  finish();
  std::string line = std::exchange(text_, {});
  if (ended() && line.empty()) return std::nullopt;
  if (!ended()) line.pop_back();
  return line;
}

bool WriteAll::proceed() {
  const std::span<iovec> buffers = several_.empty() ? std::span(&one_, 1) : std::span(several_);
  while (true) {
    while (first_ < buffers.size() && buffers[first_].iov_len == 0) ++first_;
    if (first_ == buffers.size()) return true;
    const std::ptrdiff_t sent = state_->send(buffers.subspan(first_));
    if (sent == StreamState::wait_first) return false;
    begun_ = begun_ || sent > 0;
    for (auto left = static_cast<std::size_t>(sent); left > 0;) {
      iovec& buffer = buffers[first_];
      const std::size_t of_this = std::min(left, buffer.iov_len);
      buffer.iov_base = static_cast<std::byte*>(buffer.iov_base) + of_this;
      buffer.iov_len -= of_this;
      left -= of_this;
      if (buffer.iov_len == 0) ++first_;
    }
    if (state_->is_socket() && first_ < buffers.size() && buffers[first_].iov_len > 0) return false;
  }
}

void WriteAll::break_if_begun() noexcept {
  if (begun_ && !over()) state_->break_writing();
}

}  // namespace cofork::detail
