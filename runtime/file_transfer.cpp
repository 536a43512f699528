#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/file_transfer.hpp>
#include <cstring>
#include <memory>

namespace cofork::detail {

namespace {
// Kept from one call to the next: fresh pages would cost more than the copy.
std::byte* own_memory() {
  thread_local const std::unique_ptr<std::byte[]> memory(new std::byte[Transfer::step]);
  return memory.get();
}
}  // namespace

void Transfer::revoke() noexcept {
  stop();
  const std::lock_guard lock(mutex_);
  revoked_ = true;
}

void Transfer::check_not_stopped() const {
  if (stopped_.load(std::memory_order_relaxed)) throw CancelledError();
}

template <class F>
void Transfer::use_buffer(F copy) {
  const std::lock_guard lock(mutex_);
  if (revoked_) throw CancelledError();
  copy();
}

std::size_t Transfer::read(int file, const char* path, std::optional<std::uint64_t> offset) {
  std::byte* const memory = own_memory();
  std::size_t done = 0;
  while (done < size_) {
    if (done > 0 && stopped_.load(std::memory_order_relaxed)) break;
    check_not_stopped();
    const std::size_t wanted = std::min(step, size_ - done);
    const ssize_t got = retry_interrupted([&] {
      return offset ? ::pread(file, memory, wanted, static_cast<off_t>(*offset + done)) : ::read(file, memory, wanted);
    });
    if (got < 0) throw_errno("read", path);
    if (got == 0) break;
    const auto count = static_cast<std::size_t>(got);
    use_buffer([&] { std::memcpy(buffer_ + done, memory, count); });
    done += count;
    if (count < wanted) break;
  }
  return done;
}

void Transfer::write(int file, const char* path, std::optional<std::uint64_t> offset) {
  std::byte* const memory = own_memory();
  for (std::size_t done = 0; done < size_;) {
    check_not_stopped();
    const std::size_t count = std::min(step, size_ - done);
    use_buffer([&] { std::memcpy(memory, buffer_ + done, count); });
    for (std::size_t written = 0; written < count;) {
      const ssize_t result = retry_interrupted([&] {
        const std::byte* const from = memory + written;
        return offset ? ::pwrite(file, from, count - written, static_cast<off_t>(*offset + done + written))
                      : ::write(file, from, count - written);
      });
      if (result < 0) throw_errno("write", path);
      written += static_cast<std::size_t>(result);
    }
    done += count;
  }
}

}  // namespace cofork::detail
