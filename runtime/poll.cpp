#include <cofork/runtime/poll.hpp>
#include <string>

namespace cofork {

namespace {
detail::IntrusivePtr<detail::HandleState> borrow(int descriptor) {
  const auto state = detail::make_intrusive<detail::SocketState>(detail::Descriptor(descriptor),
                                                                 "descriptor " + std::to_string(descriptor), "Poll");
  state->borrow();
  return state;
}
}  // namespace

Poll::Poll(int descriptor) : HandleBase(borrow(descriptor)) {}

Poll& Poll::operator=(Poll&& other) noexcept {
  if (this == &other) return *this;
  close();
  HandleBase::operator=(std::move(other));
  return *this;
}

void Poll::close() noexcept {
  detail::close_socket(handle_state());
  reset();
}

}  // namespace cofork
