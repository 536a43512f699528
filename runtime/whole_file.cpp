#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cofork/runtime/file_info.hpp>
#include <cofork/runtime/system_call.hpp>
#include <cofork/runtime/transfer_task.hpp>
#include <cofork/runtime/whole_file.hpp>

namespace cofork {

namespace {

constexpr std::size_t step = 1024 * 1024;

std::string read_whole(const std::filesystem::path& path, const std::atomic<bool>& stopped) {
  const auto open = [&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); };
  const detail::Descriptor file(detail::retry_interrupted(open));
  if (!file) detail::throw_errno("open", path.c_str());
  // The size is a hint: it is 0 for what /proc makes, and the file may grow.
  const std::uint64_t expected = detail::info_of(file.get(), path.c_str()).size;
  std::string text;
  text.reserve(static_cast<std::size_t>(expected) + 1);
  for (;;) {
    if (stopped.load(std::memory_order_relaxed)) throw CancelledError();
    const std::size_t size = text.size();
    const std::size_t room = text.capacity() - size;
    text.resize(size + (room > 0 ? std::min(step, room) : std::max<std::size_t>(4096, std::min(step, size))));
    const auto read = [&] { return ::read(file.get(), text.data() + size, text.size() - size); };
    const ssize_t got = detail::retry_interrupted(read);
    if (got < 0) detail::throw_errno("read", path.c_str());
    text.resize(size + static_cast<std::size_t>(got));
    if (got == 0) return text;
  }
}

}  // namespace

Task<std::string> read_file(std::filesystem::path path) {
  co_await detail::CancellationPoint();
  const auto stopped = std::make_shared<std::atomic<bool>>(false);
  const auto stop = [stopped] { stopped->store(true, std::memory_order_relaxed); };
  const std::stop_token token = co_await current_stop_token();
  const std::stop_callback when_cancelled(token, stop);
  Future<std::string> text = to_thread([path = std::move(path), stopped] { return read_whole(path, *stopped); });
  co_return co_await std::move(text);
}

Task<> write_file(std::filesystem::path path, std::span<const std::byte> bytes) {
  return detail::transfer_in_thread(bytes, [path = std::move(path)](detail::Transfer& transfer) {
    const auto open = [&] { return ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666); };
    detail::Descriptor file(detail::retry_interrupted(open));
    if (!file) detail::throw_errno("open", path.c_str());
    transfer.write(file.get(), path.c_str(), std::nullopt);
    errno = detail::close_checked(file);
    if (errno != 0) detail::throw_errno("close", path.c_str());
  });
}

Task<> write_file(std::filesystem::path path, std::string_view text) {
  return write_file(std::move(path), std::as_bytes(std::span(text)));
}

}  // namespace cofork
