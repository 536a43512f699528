#include <uv.h>

#include <cofork/runtime/descriptor_watch.hpp>
#include <cofork/runtime/loop_handles.hpp>
#include <memory>
#include <utility>

namespace cofork::detail {

struct DescriptorWatch::State {
  uv_poll_t poll;
  std::function<void()> on_readable;

  static void close(State* state) {
    uv_close(reinterpret_cast<uv_handle_t*>(&state->poll),
             [](uv_handle_t* handle) { delete static_cast<State*>(handle->data); });
  }
};

DescriptorWatch::DescriptorWatch(uv_loop_s* loop, int descriptor, std::function<void()> on_readable) {
  auto state = std::make_unique<State>();
  state->on_readable = std::move(on_readable);
  check_uv(uv_poll_init(loop, &state->poll, descriptor), "uv_poll_init");
  state->poll.data = state.get();
  const int status = uv_poll_start(&state->poll, UV_READABLE, [](uv_poll_t* poll, int, int) {
    // A copy, as it may destroy the watch.
    const std::function<void()> call = static_cast<State*>(poll->data)->on_readable;
    call();
  });
  if (status < 0) {
    State::close(state.release());
    check_uv(status, "uv_poll_start");
  }
  state_ = state.release();
}

DescriptorWatch::DescriptorWatch(DescriptorWatch&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}

DescriptorWatch& DescriptorWatch::operator=(DescriptorWatch&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}

DescriptorWatch::~DescriptorWatch() {
  if (!state_) return;
  uv_poll_stop(&state_->poll);
  State::close(state_);
}

}  // namespace cofork::detail
