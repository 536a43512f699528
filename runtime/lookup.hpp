// Looking up the addresses of a host without blocking the loop. Not for users.
#pragma once

#include <cofork/runtime/context.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/socket_address.hpp>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

namespace cofork::detail {

/// The addresses of a host, in the order to try them; numeric ones at once, names on a thread of libuv's pool.
/// Cancelling ends the wait at once, the thread comes to its end by itself. Throws std::system_error.
class [[nodiscard("co_await it")]] Lookup {
 public:
  Lookup(std::string host, std::uint16_t port, int socket_type)
      : host_(std::move(host)), port_(port), socket_type_(socket_type) {}
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;
  ~Lookup() { abandon(); }

  bool await_ready();
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    return suspend(handle, context_of(handle));
  }
  std::vector<SocketAddress> await_resume();

 private:
  struct Request;
  struct Node : Waiter {
    Lookup* lookup = nullptr;
  };
  bool suspend(std::coroutine_handle<> handle, Context * context);
  void abandon() noexcept;
  static void on_cancel(Waiter & waiter) noexcept;

  std::string host_;
  std::uint16_t port_;
  int socket_type_;
  std::vector<SocketAddress> found_;
  int status_ = 0;
  bool over_ = false;
  Request* request_ = nullptr;  // while libuv has it; it is freed by libuv's callback
  Node node_;
};

}  // namespace cofork::detail
