#include <netdb.h>
#include <uv.h>

#include <cerrno>
#include <cofork/runtime/lookup.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/loop_handles.hpp>
#include <memory>
#include <system_error>
#include <utility>

namespace cofork::detail {

struct Lookup::Request {
  uv_getaddrinfo_t uv;
  Lookup* lookup;  // null when nobody waits any more

  static void on_found(uv_getaddrinfo_t* uv, int status, addrinfo* found) {
    const std::unique_ptr<Request> request(static_cast<Request*>(uv->data));
    if (Lookup* const lookup = request->lookup) {
      lookup->request_ = nullptr;
      lookup->status_ = status;
      lookup->over_ = true;
      if (status == 0) lookup->found_ = addresses_of(found);
      lookup->node_.resume_later();
    }
    uv_freeaddrinfo(found);
  }
};

namespace {
int errno_for(int status) {
  switch (status) {
    case UV_EAI_MEMORY:
      return ENOMEM;
    case UV_EAI_AGAIN:
      return EAGAIN;
    default:
      return status > UV_EAI_ADDRFAMILY ? -status : EHOSTUNREACH;
  }
}
}  // namespace

bool Lookup::await_ready() {
  found_ = find_addresses(host_, port_, false, true, socket_type_);
  over_ = !found_.empty();
  return over_;
}

bool Lookup::suspend(std::coroutine_handle<> handle, Context* context) {
  if (context && context->cancelled()) return false;
  auto request = std::make_unique<Request>();
  request->uv.data = request.get();
  request->lookup = this;
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = socket_type_;
  hints.ai_flags = AI_NUMERICSERV;
  check_uv(uv_getaddrinfo(Loop::current().uv(), &request->uv, &Request::on_found, host_.c_str(),
                          std::to_string(port_).c_str(), &hints),
           "uv_getaddrinfo");
  request_ = request.release();
  node_.lookup = this;
  node_.suspend(handle, context, "the addresses of a host", &Lookup::on_cancel);
  return true;
}

void Lookup::on_cancel(Waiter& waiter) noexcept {
  static_cast<Node&>(waiter).lookup->abandon();
  waiter.resume_cancelled();
}

void Lookup::abandon() noexcept {
  if (!request_) return;
  request_->lookup = nullptr;
  // If no thread has begun, its callback comes at once.
  static_cast<void>(uv_cancel(reinterpret_cast<uv_req_t*>(&request_->uv)));
  request_ = nullptr;
}

std::vector<SocketAddress> Lookup::await_resume() {
  if (!over_) throw CancelledError();
  if (status_ < 0)
    throw std::system_error(errno_for(status_), std::generic_category(),
                            "resolve " + host_ + ": " + uv_strerror(status_));
  return std::move(found_);
}

}  // namespace cofork::detail
