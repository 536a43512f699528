#include <cofork/executors/thread_pool_executor.hpp>
#include <stdexcept>

namespace cofork {

namespace {
ThreadPoolOptions with_workers(unsigned max_workers) {
  if (max_workers == 0) throw std::invalid_argument("ThreadPoolExecutor: max_workers must be greater than 0");
  ThreadPoolOptions options;
  options.max_workers = max_workers;
  return options;
}

Task<> nothing() { co_return; }
}  // namespace

ThreadPoolExecutor::ThreadPoolExecutor(unsigned max_workers) : ThreadPoolExecutor(with_workers(max_workers)) {}

ThreadPoolExecutor::ThreadPoolExecutor(ThreadPoolOptions options)
    : core_(detail::make_intrusive<detail::ThreadPoolCore>(options.max_workers,
                                                           std::string(options.thread_name_prefix))) {}

Task<> ThreadPoolExecutor::shutdown(ShutdownOptions options) {
  core_->close(options.cancel_futures);
  return options.wait ? core_->closed() : nothing();
}

}  // namespace cofork
