// The handles of states: what the classes of this folder that users hold have in common, and how they travel.
#pragma once

#include <cofork/ipc/codec_core.hpp>
#include <cofork/runtime/handle.hpp>
#include <concepts>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace cofork::detail {

class HandleAccess;

/// A handle of a `S`, which has a `name` for errors, `check_given()`, `encode(writer)` and a constructor that takes a
/// reader.
template <class S>
class StateHandle : public HandleBase {
 public:
  using State = S;

 protected:
  friend class HandleAccess;
  explicit StateHandle(IntrusivePtr<S> state) : HandleBase(IntrusivePtr<HandleState>(std::move(state))) {}

  /// Throws std::logic_error when there is none, or it was not given to this process.
  S& state() const {
    auto* const state = static_cast<S*>(handle_state());
    if (!state) [[unlikely]]
      throw std::logic_error(std::string("this ") + S::name + " was closed or moved from");
    state->check_given();
    return *state;
  }
  IntrusivePtr<S> shared_state() const { return IntrusivePtr<S>(&state()); }
};

class HandleAccess {
 public:
  template <class S>
  static S& state_of(const StateHandle<S>& handle) {
    return handle.state();
  }
};

template <class H>
concept HandleOfState = requires {
  typename H::State;
  requires std::derived_from<H, StateHandle<typename H::State>>;
};

}  // namespace cofork::detail

namespace cofork {

template <detail::HandleOfState H>
struct Codec<H> : detail::OwnCodec<> {
  static void encode(ipc::Writer& writer, const H& handle) {
    writer.value(std::uint8_t{0});
    detail::HandleAccess::state_of(handle).encode(writer);
  }
  static H decode(ipc::Reader& reader) {
    reader.value<std::uint8_t>();
    return H(detail::make_intrusive<typename H::State>(reader));
  }
};

}  // namespace cofork
