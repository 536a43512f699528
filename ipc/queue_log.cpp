#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>

#include <cerrno>
#include <cofork/ipc/prefetch.hpp>
#include <cofork/ipc/queue_log.hpp>
#include <cofork/runtime/errors.hpp>
#include <system_error>
#include <utility>

namespace cofork::detail {

QueueLog::QueueLog() : file_(ipc::MemoryFile::create("cofork-queue", 0)) {
  file_.seal_shrink();
  provide(LogPosition::first_region);
}

QueueLog::QueueLog(ipc::Descriptor file) : file_(std::move(file)) {
  if (!ipc::cannot_shrink(file_.descriptor()) || file_.size() < 2 * size_of(LogPosition::first_region)) fail();
}

QueueLog::~QueueLog() {
  for (unsigned region = 0; region < regions_.size(); ++region)
    if (std::byte* const mapped = regions_[region].load(std::memory_order_relaxed)) ::munmap(mapped, size_of(region));
}

void QueueLog::fail() { throw DecodeError("malformed queue: its memory is not what it should be"); }

std::byte* QueueLog::map(unsigned region) const {
  if (region < LogPosition::first_region || file_.size() < 2 * size_of(region)) fail();
  void* const address = ::mmap(nullptr, size_of(region), PROT_READ | PROT_WRITE, MAP_SHARED, file_.descriptor(),
                               static_cast<off_t>(size_of(region)));
  if (address == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap of a queue");
  std::byte* known = nullptr;
  if (regions_[region].compare_exchange_strong(known, static_cast<std::byte*>(address), std::memory_order_acq_rel))
    return static_cast<std::byte*>(address);
  ::munmap(address, size_of(region));
  return known;
}

void QueueLog::expect_writing(LogPosition at, std::size_t size) const noexcept {
  constexpr std::size_t line = 64, most = 1024;
  const std::byte* const known = regions_[at.region()].load(std::memory_order_acquire);
  // It may be beyond the end of the ring.
  const auto begin = reinterpret_cast<std::uintptr_t>(known) + at.offset();
  const std::size_t length = std::min(2 * (sizeof(LogRecord) + size), most);
  for (std::size_t i = line; i < line + length; i += line)
    ipc::prefetch_to_write(reinterpret_cast<const void*>(begin + i));
}

void QueueLog::provide(unsigned region) {
  if (region > LogPosition::last_region) throw std::system_error(EFBIG, std::generic_category(), "growing a queue");
  if (file_.size() < 2 * size_of(region)) file_.grow(2 * size_of(region));
  memory(region);
}

void QueueLog::discard(unsigned region) noexcept {
  const auto size = static_cast<off_t>(size_of(region));
  while (::fallocate(file_.descriptor(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, size, size) < 0 &&
         errno == EINTR) {
  }
}

}  // namespace cofork::detail
