// TCP: streams and listeners.
#pragma once

#include <chrono>
#include <cofork/runtime/accept.hpp>
#include <cofork/runtime/byte_stream.hpp>
#include <cstdint>
#include <string>
#include <utility>

namespace cofork {

/// Where a socket is.
struct Endpoint {
  std::string host;  ///< numeric: "127.0.0.1", "::1"
  std::uint16_t port = 0;
};

/// A TCP connection (`asyncio.open_connection`). Small writes are sent at once (TCP_NODELAY) unless
/// `set_nodelay(false)`.
class TcpStream : public ByteStream {
 public:
  /// Connects to `host`, a name or an address, at `port`. Names are looked up on libuv's thread pool. Their addresses
  /// are tried as RFC 8305 says ("happy eyeballs"; `asyncio.open_connection` with `happy_eyeballs_delay=0.25` and
  /// `interleave=1`): of both families in turn, the next one as soon as the one before has failed or has not answered
  /// for 250 ms; the first connection is taken, and the other attempts are given up. std::system_error when none
  /// answers: ECONNREFUSED for one, with what each address said, and EHOSTUNREACH for a name that is not known.
  /// Cancelling ends it at once.
  static Task<TcpStream> connect(std::string host, std::uint16_t port);

  /// Over a connected socket, which becomes the stream's.
  static TcpStream adopt(int descriptor);

  Endpoint local_address() const;
  Endpoint peer_address() const;
  /// Whether small writes are sent at once; otherwise they may wait until what was sent before is acknowledged.
  void set_nodelay(bool on);
  /// Whether a peer that says nothing is asked whether it is still there, after `idle` and from then on every
  /// `interval`, in whole seconds; reads fail with ETIMEDOUT after `probes` without an answer.
  void set_keepalive(bool on, std::chrono::seconds idle = std::chrono::hours(2),
                     std::chrono::seconds interval = std::chrono::seconds(75), int probes = 9);

  /// For what makes streams.
  explicit TcpStream(detail::StreamPtr state) : ByteStream(std::move(state)) {}
};

/// Waits for TCP connections (`asyncio.start_server`, without the callbacks).
///
/// A `Process` that is given a listener (by capture or argument) accepts beside the one that it was given by.
class TcpListener : public detail::HandleBase {
 public:
  /// Listens at `port`, 0 for any that is free; an empty `host` is all of this machine's addresses, of both
  /// families. The address may be
  /// one that connections of an earlier listener still linger at (SO_REUSEADDR). A name is looked up, which blocks.
  /// std::system_error.
  static TcpListener bind(std::string host, std::uint16_t port) { return bind(ListenOptions{}, std::move(host), port); }
  static TcpListener bind(ListenOptions options, std::string host, std::uint16_t port);
  /// Over a socket that listens already and becomes the listener's; it becomes non-blocking. std::system_error,
  /// std::invalid_argument if it does not listen.
  static TcpListener adopt(int descriptor);

  TcpListener(TcpListener&&) noexcept = default;
  TcpListener& operator=(TcpListener&&) noexcept;
  /// Closes it.
  ~TcpListener() { close(); }

  /// The next connection. Several coroutines may wait, and are served in order. Cancelling loses no connection. When
  /// the process has no descriptor left (EMFILE) or the system no memory, std::system_error: the peer waits on, and the
  /// next `accept` waits for a moment before it tries again, so that a loop that reports errors does not spin.
  /// Connections that are gone again before they are accepted are passed over. std::logic_error if the listener is
  /// closed.
  Task<TcpStream> accept() { return detail::accept_as<TcpStream>(state()); }

  std::uint16_t port() const { return detail::port_of(state()->address()); }
  Endpoint local_address() const;
  /// Stops listening; does nothing the second time. Coroutines that wait in `accept` get std::system_error with
  /// ECANCELED.
  void close() noexcept;
  bool closed() const noexcept { return handle_state() == nullptr; }
  /// The descriptor, still the listener's.
  int native_handle() const { return state()->descriptor(); }
  /// Gives the descriptor up without closing it. std::logic_error while a coroutine waits in `accept`.
  int release();

 private:
  explicit TcpListener(detail::SocketPtr state)
      : HandleBase(detail::IntrusivePtr<detail::HandleState>(std::move(state))) {}
  detail::SocketPtr state() const { return detail::open_socket(handle_state(), "listener"); }
};

}  // namespace cofork
