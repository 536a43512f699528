#include <cofork/runtime/permits.hpp>

namespace cofork::detail {

void Permits::take(Taker& taker) noexcept {
  if (try_take())
    hand_to(taker);
  else
    takers_.push_back(taker);
}

bool Permits::give() noexcept {
  if (!takers_.empty()) {
    hand_to(static_cast<Taker&>(takers_.front()));
    return true;
  }
  if (available_ == limit_) return false;
  ++available_;
  return true;
}

}  // namespace cofork::detail
