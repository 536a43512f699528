#include <cofork/executors/pool.hpp>
#include <stdexcept>

namespace cofork {

namespace detail {
MapOptions imap_options(std::size_t chunksize, bool ordered) {
  if (chunksize == 0) throw std::invalid_argument("Pool::imap: chunksize must be greater than 0");
  MapOptions options;
  options.chunksize = chunksize;
  options.ordered = ordered;
  return options;
}
}  // namespace detail

void Pool::close() {
  running_ = false;
  static_cast<void>(executor_.shutdown({.wait = false}));
}

void Pool::terminate() {
  running_ = false;
  executor_.terminate_workers();
}

Task<> Pool::join() {
  if (running_) throw std::logic_error("Pool::join: the pool is still running: close or terminate it first");
  return executor_.shutdown();
}

}  // namespace cofork
