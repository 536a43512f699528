#include <cofork/executors/fork_executor.hpp>
#include <stdexcept>

namespace cofork {

namespace {
unsigned checked(unsigned max_workers) {
  if (max_workers == 0) throw std::invalid_argument("ForkExecutor: max_workers must be greater than 0");
  return max_workers;
}

Task<> nothing() { co_return; }
}  // namespace

ForkExecutor::ForkExecutor(unsigned max_workers)
    : core_(detail::make_intrusive<detail::ForkCore>(checked(max_workers))) {}

Task<> ForkExecutor::shutdown(ShutdownOptions options) {
  core_->close(options.cancel_futures);
  return options.wait ? detail::ForkCore::closed(core_) : nothing();
}

}  // namespace cofork
