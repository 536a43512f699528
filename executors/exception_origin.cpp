#include <pthread.h>

#include <cofork/executors/exception_origin.hpp>
#include <cofork/executors/remote_info.hpp>
#include <cofork/executors/stack_trace.hpp>
#include <cofork/executors/throw_trace.hpp>
#include <mutex>
#include <unordered_map>

namespace cofork {
namespace detail {

namespace {

/// Never destroyed: exceptions may outlive everything.
class Origins {
 public:
  static Origins& instance() {
    static Origins* const origins = new Origins;
    return *origins;
  }

  void expect(const void* object) {
    const std::lock_guard lock(mutex_);
    origins_.insert_or_assign(object, ExceptionOrigin{});
  }
  void set(const void* object, ExceptionOrigin&& origin) noexcept {
    const std::lock_guard lock(mutex_);
    if (const auto found = origins_.find(object); found != origins_.end()) found->second = std::move(origin);
  }
  void forget(const void* object) noexcept {
    const std::lock_guard lock(mutex_);
    origins_.erase(object);
  }
  ExceptionOrigin find(const void* object) {
    const std::lock_guard lock(mutex_);
    const auto found = origins_.find(object);
    return found != origins_.end() ? found->second : ExceptionOrigin{};
  }

 private:
  Origins() {
    // So that a forked child does not find it locked by a thread that it does not have.
    ::pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                     [] { instance().mutex_.unlock(); });
  }

  std::mutex mutex_;
  std::unordered_map<const void*, ExceptionOrigin> origins_;
};

}  // namespace

void expect_origin(const void* object) noexcept {
  try {
    Origins::instance().expect(object);
  } catch (...) {
    // No memory is left: the exception itself matters more.
  }
}

void set_origin(const std::exception_ptr& error, ExceptionOrigin origin) noexcept {
  Origins::instance().set(exception_object(error), std::move(origin));
}

void forget_origin(const void* object) noexcept { Origins::instance().forget(object); }

ExceptionOrigin origin_of(const std::exception_ptr& error) {
  return error ? Origins::instance().find(exception_object(error)) : ExceptionOrigin{};
}

}  // namespace detail

RemoteInfo remote_info(const std::exception_ptr& error) {
  detail::ExceptionOrigin origin = detail::origin_of(error);
  return {origin.pid, std::move(origin.task_name), detail::describe_stack(origin.stack)};
}

}  // namespace cofork
