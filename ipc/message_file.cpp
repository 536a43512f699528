#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cofork/ipc/message_file.hpp>
#include <cofork/runtime/handle.hpp>
#include <list>
#include <mutex>
#include <system_error>
#include <utility>

namespace cofork::detail {

namespace {

constexpr std::size_t most_kept_files = 8;
constexpr std::size_t most_kept_bytes = std::size_t{64} << 20;

struct KeptFile {
  MessageFiles::Owner owner;
  MessageFile file;
};

struct Cache {
  std::mutex mutex;
  std::list<KeptFile> files;  // the one that was used last is the last
  std::size_t bytes = 0;
  unsigned generation = fork_generation();

  /// That of this process: a copy that a fork made has neither the mappings nor the descriptors.
  static Cache& instance() {
    static std::atomic<Cache*> current = new Cache;
    Cache* cache = current.load(std::memory_order_acquire);
    if (cache->generation == fork_generation()) return *cache;
    auto* const fresh = new Cache;
    if (current.compare_exchange_strong(cache, fresh)) return *fresh;
    delete fresh;
    return *cache;
  }
};

}  // namespace

MessageFile::MessageFile(std::size_t capacity)
    : file_(ipc::MemoryFile::create("cofork-message", front + capacity)),
      mapping_(file_.descriptor(), front + capacity) {
  // Nobody else shall seal it against growing.
  if (::fcntl(file_.descriptor(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
    throw std::system_error(errno, std::generic_category(), "sealing a message's file");
}

void MessageFile::grow(std::size_t capacity) {
  file_.grow(front + capacity);
  mapping_.resize(front + capacity);
}

void MessageFile::set_word(std::uint32_t word) noexcept {
  std::atomic_ref(*reinterpret_cast<std::uint32_t*>(mapping_.data())).store(word, std::memory_order_release);
}

bool MessageFile::available() const noexcept {
  return std::atomic_ref(*reinterpret_cast<std::uint32_t*>(mapping_.data())).load(std::memory_order_acquire) == free;
}

void MessageFile::give_back(int descriptor) noexcept {
  // Should it fail, the sender goes on without this file.
  static_cast<void>(::pwrite(descriptor, &free, sizeof free, 0) < 0);
}

MessageFiles::Owner MessageFiles::new_owner() noexcept {
  static std::atomic<Owner> last = 0;
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

MessageFile MessageFiles::take(Owner owner, std::size_t capacity) {
  Cache& cache = Cache::instance();
  MessageFile file;
  {
    const std::lock_guard lock(cache.mutex);
    const auto found = std::find_if(cache.files.begin(), cache.files.end(),
                                    [&](const KeptFile& kept) { return kept.owner == owner && kept.file.available(); });
    if (found != cache.files.end()) {
      file = std::move(found->file);
      cache.bytes -= file.capacity();
      cache.files.erase(found);
    }
  }
  if (!file.valid()) return MessageFile(capacity);
  if (file.capacity() < capacity) file.grow(capacity);
  return file;
}

void MessageFiles::keep(Owner owner, MessageFile file) noexcept {
  if (file.capacity() > most_kept_bytes / 2) return;
  Cache& cache = Cache::instance();
  const std::lock_guard lock(cache.mutex);
  const std::size_t size = file.capacity();
  try {
    cache.files.push_back({owner, std::move(file)});
  } catch (const std::bad_alloc&) {
    return;
  }
  cache.bytes += size;
  while (cache.bytes > most_kept_bytes || cache.files.size() > most_kept_files) {
    cache.bytes -= cache.files.front().file.capacity();
    cache.files.pop_front();
  }
}

void MessageFiles::drop_all_of(Owner owner) noexcept {
  Cache& cache = Cache::instance();
  const std::lock_guard lock(cache.mutex);
  for (auto at = cache.files.begin(); at != cache.files.end();) {
    if (at->owner != owner) {
      ++at;
      continue;
    }
    cache.bytes -= at->file.capacity();
    at = cache.files.erase(at);
  }
}

}  // namespace cofork::detail
