#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cofork/runtime/readable_stream.hpp>
#include <cofork/runtime/system_call.hpp>
#include <cofork/runtime/watch.hpp>
#include <deque>
#include <memory>
#include <utility>

namespace cofork {

namespace {

using Kind = FileChange::Kind;

constexpr std::uint32_t interesting = IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE | IN_DELETE_SELF |
                                      IN_MOVED_FROM | IN_MOVED_TO | IN_MOVE_SELF;

std::optional<Kind> kind_of(std::uint32_t mask) {
  if (mask & IN_Q_OVERFLOW) return Kind::lost;
  if (mask & IN_CREATE) return Kind::created;
  if (mask & IN_MODIFY) return Kind::modified;
  if (mask & IN_CLOSE_WRITE) return Kind::written;
  if (mask & IN_ATTRIB) return Kind::attributes;
  if (mask & (IN_DELETE | IN_DELETE_SELF | IN_UNMOUNT)) return Kind::removed;
  if (mask & (IN_MOVED_FROM | IN_MOVE_SELF)) return Kind::moved_away;
  if (mask & IN_MOVED_TO) return Kind::moved_here;
  return std::nullopt;
}

class ChangeSource final : public detail::StreamSource<FileChange> {
 public:
  explicit ChangeSource(std::filesystem::path path)
      : path_(std::move(path)), inotify_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
    if (!inotify_) detail::throw_errno("watch", path_.c_str());
    if (::inotify_add_watch(inotify_.get(), path_.c_str(), interesting) < 0)
      detail::throw_errno("watch", path_.c_str());
  }

  bool ready() override {
    if (changes_.empty() && inotify_) fill();
    return !changes_.empty() || !inotify_;
  }
  bool wait(detail::Waiter& waiter, std::coroutine_handle<> coroutine, detail::Context* context) override {
    consumer_.wait(inotify_.get(), waiter, coroutine, context);
    return true;
  }
  std::optional<FileChange> take() override {
    if (!ready() || changes_.empty()) return std::nullopt;
    FileChange first = std::move(changes_.front());
    changes_.pop_front();
    return first;
  }
  void close() noexcept override {
    changes_.clear();
    end();
  }

 private:
  void end() noexcept {
    consumer_.stop();
    inotify_.reset();
  }

  void fill() {
    alignas(inotify_event) std::array<char, 4096> buffer;
    const ssize_t size =
        detail::retry_interrupted([&] { return ::read(inotify_.get(), buffer.data(), buffer.size()); });
    if (size < 0 && errno == EAGAIN) return;
    if (size < 0) detail::throw_errno("watch", path_.c_str());
    for (std::size_t offset = 0; offset < static_cast<std::size_t>(size);) {
      const auto* const event = reinterpret_cast<const inotify_event*>(buffer.data() + offset);
      offset += sizeof *event + event->len;
      if (event->mask & IN_IGNORED) return end();
      if (const std::optional<Kind> kind = kind_of(event->mask))
        changes_.push_back({*kind, event->len > 0 ? event->name : ""});
    }
  }

  const std::filesystem::path path_;
  detail::Descriptor inotify_;
  detail::ReadableConsumer consumer_;
  std::deque<FileChange> changes_;
};

}  // namespace

Stream<FileChange> watch(std::filesystem::path path) {
  return Stream<FileChange>(std::make_unique<ChangeSource>(std::move(path)));
}

}  // namespace cofork
