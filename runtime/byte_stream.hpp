// ByteStream: what every stream of bytes has, a socket, a pipe or a terminal.
#pragma once

#include <cofork/runtime/handle.hpp>
#include <cofork/runtime/stream_operation.hpp>
#include <cofork/runtime/stream_state.hpp>
#include <cofork/runtime/task.hpp>
#include <concepts>
#include <cstddef>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cofork {

namespace detail {
struct ByteStreamAccess;

template <class T>
concept Bytes =
    std::convertible_to<const T&, std::string_view> || std::convertible_to<const T&, std::span<const std::byte>>;

template <Bytes T>
iovec as_buffer(const T& bytes) noexcept {
  if constexpr (std::convertible_to<const T&, std::string_view>) {
    const std::string_view text = bytes;
    return {const_cast<char*>(text.data()), text.size()};
  } else {
    const std::span<const std::byte> span = bytes;
    return {const_cast<std::byte*>(span.data()), span.size()};
  }
}
}  // namespace detail

/// A stream of bytes over a descriptor: a connected socket, a pipe, a terminal (`asyncio.StreamReader` and
/// `StreamWriter` in one). It owns the descriptor. Move-only; it belongs to the loop on which something waited for it
/// first, until that loop ends.
///
/// One coroutine may read and another one write at the same time; a second reader or a second writer is
/// `std::logic_error` when it is awaited, and so is any use of a stream that was closed or moved from. The stream and
/// the buffers that are passed must outlive the await. Errors of the system are `std::system_error` with the errno as
/// code, and name the operation and the peer; SIGPIPE is never raised, a peer that does not read any more is EPIPE or
/// ECONNRESET.
///
/// Cancelling a read loses no byte: what had arrived is there for the next one. Cancelling a write stops it; if a part
/// of it was written already, the stream is of no use for writing any more: further writes fail with EPIPE, reading
/// goes on.
///
/// A `Process` that is given a stream (by capture or argument) has it open, together with what was read ahead. It
/// travels to pool tasks and in messages as well: a duplicate of its descriptor, and what was read ahead. This side's
/// stays open until it is closed; the peer sees the end when all sides have closed it.
class ByteStream : public detail::HandleBase {
 public:
  /// A stream over `descriptor`, which must be open for reading, writing or both and becomes the stream's. Unless it is
  /// a socket, its open file becomes non-blocking, also for whoever shares it. A regular file, which is always ready,
  /// is read and written on the spot: use `File` for that. std::system_error (EBADF).
  static ByteStream adopt(int descriptor);

  ByteStream(ByteStream&&) noexcept = default;
  ByteStream& operator=(ByteStream&& other) noexcept {
    if (this == &other) return *this;
    close();
    HandleBase::operator=(std::move(other));
    return *this;
  }
  /// Closes it.
  ~ByteStream() { close(); }

  /// Waits until something has arrived and gives how many bytes of it are in `into` now: at least one, 0 at the end of
  /// the stream (or if `into` is empty). `asyncio.StreamReader.read`.
  detail::ReadSome read_some(std::span<std::byte> into) { return {state(), into}; }

  /// Fills `into`. `EndOfFile` when the stream ends first: what came before can still be read.
  detail::ReadExactly read_exactly(std::span<std::byte> into) { return {state(), into}; }

  /// All up to and with the next `delimiter`. `EndOfFile` when the stream ends first, and `std::length_error` when
  /// there is none in the first `limit` bytes: what came before can still be read.
  detail::ReadUntil read_until(char delimiter, std::size_t limit = std::numeric_limits<std::size_t>::max()) {
    return {state(), delimiter, limit};
  }
  /// The next line without its '\n'; the last one may lack it. Nothing at the end. `limit` as in `read_until`.
  detail::ReadLine read_line(std::size_t limit = std::numeric_limits<std::size_t>::max()) { return {state(), limit}; }

  /// Waits until the system has taken all of `bytes`: nothing is kept in a queue of the library's, so a peer that does
  /// not read makes its writer wait (`write` and `drain` of `asyncio.StreamWriter`).
  detail::WriteAll write(std::span<const std::byte> bytes) { return {state(), bytes}; }
  detail::WriteAll write(std::string_view text) { return {state(), std::as_bytes(std::span(text))}; }
  /// Several buffers, one after the other, in one system call as far as possible: `write(header, body)`.
  template <detail::Bytes First, detail::Bytes Second, detail::Bytes... More>
  detail::WriteAll write(const First& first, const Second& second, const More&... more) {
    std::vector<iovec> buffers;
    buffers.reserve(2 + sizeof...(more));
    buffers.push_back(detail::as_buffer(first));
    buffers.push_back(detail::as_buffer(second));
    (buffers.push_back(detail::as_buffer(more)), ...);
    return {state(), std::move(buffers)};
  }
  /// The buffers themselves are what must outlive the await, not the list of them.
  detail::WriteAll write(std::span<const std::span<const std::byte>> buffers);

  /// Tells the peer that nothing follows; reading goes on. Closes the descriptor if it is open for writing only. Later
  /// writes, and a second call, are std::logic_error. ENOTSOCK for what cannot be half closed.
  Task<> shutdown_write();

  /// Closes the descriptor; does nothing the second time. A coroutine that is waiting for the stream gets
  /// std::system_error with ECANCELED.
  void close() noexcept;
  bool closed() const noexcept { return handle_state() == nullptr; }

  /// The descriptor, still the stream's; -1 after `shutdown_write` closed it.
  int native_handle() const { return state()->descriptor(); }
  /// Gives the descriptor up, as it is, without closing it. The stream is closed afterwards. std::logic_error while
  /// something waits for it, or when more was read already than was taken.
  int release();

  /// For what makes streams.
  explicit ByteStream(detail::StreamPtr state)
      : HandleBase(detail::IntrusivePtr<detail::HandleState>(std::move(state))) {}

 protected:
  friend struct detail::ByteStreamAccess;
  detail::StreamPtr state() const {
    auto* const state = static_cast<detail::StreamState*>(handle_state());
    if (!state) [[unlikely]]
      throw std::logic_error("this stream is closed");
    state->check_given();
    return detail::StreamPtr(state);
  }
};

namespace detail {
/// For what sends streams to other processes.
struct ByteStreamAccess {
  static StreamPtr state(const ByteStream& stream) { return stream.state(); }
};
}  // namespace detail

}  // namespace cofork
