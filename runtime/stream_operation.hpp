// The awaitables of byte streams.
#pragma once

#include <sys/uio.h>

#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/stream_state.hpp>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cofork::detail {

/// What all have in common: the state knows of the operation from its begin to its end, so that there is one of each
/// direction at most, and so that the stream may be closed meanwhile.
class StreamOperation : public IoOperation {
 public:
  bool await_ready();
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    return suspend(handle, context_of(handle));
  }

  /// The stream is closed: the operation ends with an error, if it has not ended yet.
  void stream_closed() noexcept;

 protected:
  StreamOperation(StreamPtr state, DescriptorPoll::For what) noexcept : state_(std::move(state)), what_(what) {}
  /// Only before it is awaited.
  StreamOperation(const StreamOperation& other) noexcept : IoOperation(), state_(other.state_), what_(other.what_) {}
  ~StreamOperation() { leave(); }

  /// True when it is over; throws its error.
  virtual bool proceed() = 0;
  bool attempt() noexcept final;

  /// The first part of `await_resume`: frees the stream for the next operation, and throws.
  void finish() {
    const bool over = phase_ == Phase::over && !failure_;
    leave();
    if (!over) [[unlikely]]
      fail();
  }
  bool over() const noexcept { return phase_ == Phase::over; }
  /// The bytes that an operation that did not complete had taken are the stream's again.
  void give_back(std::span<const std::byte> bytes) noexcept {
    if (!bytes.empty()) [[unlikely]]
      state_->buffer().give_back(bytes);
  }
  void leave() noexcept {
    if (phase_ == Phase::under_way || phase_ == Phase::over) leave_now();
  }

  const StreamPtr state_;

 private:
  enum class Phase : unsigned char { not_begun, under_way, over, left };
  bool suspend(std::coroutine_handle<> handle, Context* context);
  bool attempt_once() noexcept;
  void leave_now() noexcept;
  [[noreturn]] void fail() const;

  DescriptorPoll::For what_;
  Phase phase_ = Phase::not_begun;
  bool was_cancelled_ = false;
  bool others_first_ = false;
  std::exception_ptr failure_;
};

class [[nodiscard("co_await it")]] ReadSome final : public StreamOperation {
 public:
  ReadSome(StreamPtr state, std::span<std::byte> into) noexcept
      : StreamOperation(std::move(state), DescriptorPoll::For::reading), into_(into) {}
  ReadSome(const ReadSome&) = default;
  ~ReadSome() { give_back(into_.first(count_)); }

  std::size_t await_resume() {
    finish();
    return std::exchange(count_, 0);
  }
  operator Task<std::size_t>() const { return as_task<std::size_t>(*this); }

 private:
  bool proceed() override;
  std::span<std::byte> into_;
  std::size_t count_ = 0;
};

class [[nodiscard("co_await it")]] ReadExactly final : public StreamOperation {
 public:
  ReadExactly(StreamPtr state, std::span<std::byte> into) noexcept
      : StreamOperation(std::move(state), DescriptorPoll::For::reading), into_(into) {}
  ReadExactly(const ReadExactly&) = default;
  ~ReadExactly() { give_back(into_.first(count_)); }

  void await_resume();
  operator Task<>() const { return as_task<void>(*this); }

 private:
  bool proceed() override;
  std::span<std::byte> into_;
  std::size_t count_ = 0;
};

/// For `read_until` and `read_line`: up to a delimiter, or the end of the stream.
class ReadDelimited : public StreamOperation {
 protected:
  enum class AtEnd { fails, is_delimiter };
  ReadDelimited(StreamPtr state, char delimiter, AtEnd at_end, std::size_t limit) noexcept
      : StreamOperation(std::move(state), DescriptorPoll::For::reading),
        delimiter_(delimiter),
        at_end_(at_end),
        limit_(limit) {}
  ReadDelimited(const ReadDelimited&) = default;
  ~ReadDelimited() { give_back({reinterpret_cast<const std::byte*>(text_.data()), text_.size()}); }

  bool ended() const noexcept { return ended_; }
  std::string text_;  // with the delimiter

 private:
  bool proceed() override;
  char delimiter_;
  AtEnd at_end_;
  std::size_t limit_;
  std::size_t searched_ = 0;
  bool ended_ = false;
};

class [[nodiscard("co_await it")]] ReadUntil final : public ReadDelimited {
 public:
  ReadUntil(StreamPtr state, char delimiter, std::size_t limit) noexcept
      : ReadDelimited(std::move(state), delimiter, AtEnd::fails, limit) {}
  std::string await_resume();
  operator Task<std::string>() const { return as_task<std::string>(*this); }
};

class [[nodiscard("co_await it")]] ReadLine final : public ReadDelimited {
 public:
  ReadLine(StreamPtr state, std::size_t limit) noexcept
      : ReadDelimited(std::move(state), '\n', AtEnd::is_delimiter, limit) {}
  std::optional<std::string> await_resume();
  operator Task<std::optional<std::string>>() const { return as_task<std::optional<std::string>>(*this); }
};

class [[nodiscard("co_await it")]] WriteAll final : public StreamOperation {
 public:
  WriteAll(StreamPtr state, std::span<const std::byte> bytes) noexcept
      : StreamOperation(std::move(state), DescriptorPoll::For::writing),
        one_{const_cast<std::byte*>(bytes.data()), bytes.size()} {}
  WriteAll(StreamPtr state, std::vector<iovec> several) noexcept
      : StreamOperation(std::move(state), DescriptorPoll::For::writing), one_{}, several_(std::move(several)) {}
  WriteAll(const WriteAll&) = default;
  ~WriteAll() { break_if_begun(); }

  void await_resume() {
    finish();
    begun_ = false;
  }
  operator Task<>() const { return as_task<void>(*this); }

 private:
  bool proceed() override;
  void break_if_begun() noexcept;

  iovec one_;
  std::vector<iovec> several_;
  std::size_t first_ = 0;  // of `several_`, that is not written yet
  bool begun_ = false;
};

}  // namespace cofork::detail
