#include <uv.h>

#include <cofork/runtime/loop_handles.hpp>
#include <cofork/runtime/to_thread.hpp>

namespace cofork::detail {

struct ThreadRequest::Request : uv_work_t {
  static ThreadRequest& owner(uv_work_t* work) { return *static_cast<ThreadRequest*>(work->data); }

  static void work(uv_work_t* work) {
    ThreadRequest& self = owner(work);
    self.executing_.store(true, std::memory_order_relaxed);
    self.execute();
  }
  static void after_work(uv_work_t* work, int status) {
    ThreadRequest& self = owner(work);
    self.unlink();
    if (self.ended_) *self.ended_ = true;
    self.executed(status == UV_ECANCELED);
  }
};

ThreadRequest::ThreadRequest() : loop_(Loop::current()), request_(std::make_unique<Request>()) {}

ThreadRequest::~ThreadRequest() = default;

void ThreadRequest::queue() {
  request_->data = this;
  check_uv(uv_queue_work(loop_.uv(), request_.get(), &Request::work, &Request::after_work), "uv_queue_work");
  // The newest first: what has not begun is given up before the end of the rest is waited for.
  loop_.resources().push_front(*this);
}

bool ThreadRequest::take_back() noexcept { return uv_cancel(reinterpret_cast<uv_req_t*>(request_.get())) == 0; }

void ThreadRequest::loop_closing() noexcept {
  bool ended = false;
  ended_ = &ended;
  give_up();
  while (!ended) uv_run(loop_.uv(), UV_RUN_ONCE);
}

}  // namespace cofork::detail
