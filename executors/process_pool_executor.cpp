#include <cofork/executors/process_pool_executor.hpp>
#include <csignal>
#include <stdexcept>

namespace cofork {

namespace {
PoolOptions with_workers(unsigned max_workers) {
  if (max_workers == 0) throw std::invalid_argument("ProcessPoolExecutor: max_workers must be greater than 0");
  PoolOptions options;
  options.max_workers = max_workers;
  return options;
}

Task<> nothing() { co_return; }
}  // namespace

ProcessPoolExecutor::ProcessPoolExecutor(unsigned max_workers) : ProcessPoolExecutor(with_workers(max_workers)) {}

ProcessPoolExecutor::ProcessPoolExecutor(PoolOptions options) : core_(make_core(options)) {
  if (options.prestart) core_->prestart();
}

detail::IntrusivePtr<detail::PoolCore> ProcessPoolExecutor::make_core(const PoolOptions& options) {
  return detail::make_intrusive<detail::PoolCore>(options);
}

Task<> ProcessPoolExecutor::shutdown(ShutdownOptions options) {
  core_->close(options.cancel_futures);
  return options.wait ? core_->closed() : nothing();
}

void ProcessPoolExecutor::terminate_workers() { core_->stop_workers(SIGTERM); }

void ProcessPoolExecutor::kill_workers() { core_->stop_workers(SIGKILL); }

}  // namespace cofork
