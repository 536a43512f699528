#include <cofork/runtime/branches.hpp>
#include <cofork/runtime/errors.hpp>

namespace cofork::detail {

bool is_cancellation(const std::exception_ptr& error) noexcept {
  try {
    std::rethrow_exception(error);
  } catch (const CancelledError&) {
    return true;
  } catch (...) {
    return false;
  }
}

void BranchGroup::ended(BranchBase& branch) noexcept {
  branch.unlink();
  branch_ended(branch);
  // By way of the ready queue: the group's owner may then destroy everything, and this may run inside of any of it.
  if (!running() && waiter_.handle()) waiter_.resume_later();
}

void BranchGroup::stop() noexcept {
  if (stopped_) return;
  stopped_ = true;
  running_.for_each([](BranchBase& branch) { branch.stop(); });
}

}  // namespace cofork::detail
