#include <cofork/executors/register_exception.hpp>

namespace cofork::detail {

namespace {
std::atomic<const RegisteredException*> first_registered{nullptr};
}

void list_exception(RegisteredException& exception) noexcept {
  if (exception.listed.exchange(true, std::memory_order_relaxed)) return;
  const RegisteredException* first = first_registered.load(std::memory_order_relaxed);
  do {
    exception.next = first;
  } while (
      !first_registered.compare_exchange_weak(first, &exception, std::memory_order_release, std::memory_order_relaxed));
}

const RegisteredException* find_registered_exception(const std::type_info& type) noexcept {
  const RegisteredException* found = first_registered.load(std::memory_order_acquire);
  while (found && *found->type != type) found = found->next;
  return found;
}

const RegisteredException* find_registered_exception(std::uintptr_t address) noexcept {
  const RegisteredException* found = first_registered.load(std::memory_order_acquire);
  while (found && reinterpret_cast<std::uintptr_t>(found) != address) found = found->next;
  return found;
}

}  // namespace cofork::detail
