// Options of listeners and of those who connect to them.
#pragma once

#include <string_view>

namespace cofork::ipc {

struct ListenerOptions {
  /// What both sides must know. Giving options at all asks for authentication: the empty key is one, too.
  std::string_view authkey{};
};

}  // namespace cofork::ipc
