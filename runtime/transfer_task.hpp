// The coroutine that lends a caller's buffer to a thread. Not for users.
#pragma once

#include <cofork/runtime/file_transfer.hpp>
#include <cofork/runtime/in_thread.hpp>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <type_traits>

namespace cofork::detail {

/// Calls `function(transfer)` on a thread of libuv's pool, which moves bytes from or to `buffer`. Cancelling takes it
/// back or stops it after a step, and waits for that. The buffer is not touched after the end of this coroutine, nor
/// after it was destroyed.
template <class B, class F>
Task<std::invoke_result_t<F, Transfer&>> transfer_in_thread(std::span<B> buffer, F function) {
  co_await CancellationPoint();
  const auto transfer = std::make_shared<Transfer>(buffer);
  const auto stop = [&transfer] { transfer->stop(); };
  struct Revoke {
    Transfer& transfer;
    ~Revoke() { transfer.revoke(); }
  } revoke{*transfer};
  std::optional<std::stop_callback<decltype(stop)>> when_cancelled;
  if (buffer.size() > Transfer::step) {
    const std::stop_token token = co_await current_stop_token();
    when_cancelled.emplace(token, stop);
  }
  auto future = to_thread([transfer, function] { return function(*transfer); });
  co_return co_await std::move(future);
}

}  // namespace cofork::detail
