#include <pthread.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cofork/runtime/handle.hpp>
#include <cstdint>
#include <cstring>
#include <functional>
#include <mutex>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

namespace cofork::detail {

/// Every state of the process.
class HandleRegistry {
 public:
  static HandleRegistry& instance() {
    static HandleRegistry* const registry = new HandleRegistry;  // handles may be static objects
    return *registry;
  }

  void add(HandleState& state) noexcept {
    const std::lock_guard lock(mutex_);
    state.next_ = first_;
    if (first_) first_->previous_ = &state;
    first_ = &state;
  }
  void remove(HandleState& state) noexcept {
    if (!std::exchange(state.registered_, false)) return;
    const std::lock_guard lock(mutex_);
    if (state.next_) state.next_->previous_ = state.previous_;
    (state.previous_ ? state.previous_->next_ : first_) = state.next_;
  }
  void link(HandleBase& handle) noexcept {
    const std::lock_guard lock(mutex_);
    handle.state_->handles_.push_back(handle);
  }
  void unlink(HandleBase& handle) noexcept {
    const std::lock_guard lock(mutex_);
    static_cast<Link<HandleBase>&>(handle).unlink();
  }
  bool is_used(HandleState& state) noexcept {
    const std::lock_guard lock(mutex_);
    bool used = false;
    for_each_handle(state, [&](const HandleBase& handle) { used |= !handle.foreign_; });
    return used;
  }
  /// In a child that was given these handles of the state.
  static void count_only(HandleState& state, const FoundHandles& given) noexcept {
    std::uint64_t counted = 0;
    for_each_handle(state, [&](HandleBase& handle) {
      handle.foreign_ = !given.has(handle);
      if (!handle.foreign_) ++counted;
    });
    const std::uint64_t references = state.references_ % HandleState::foreign_reference;
    state.references_ = references + (references - counted) * HandleState::foreign_reference;
  }

  /// Calls `visit` with every state; it must not make, copy or destroy handles. A state without references is still
  /// being made, or about to end.
  template <class F>
  void for_each(F&& visit) {
    const std::lock_guard lock(mutex_);
    for (HandleState* state = first_; state; state = state->next_)
      if (state->references_.load(std::memory_order_acquire) != 0) visit(*state);
  }
  template <class F>
  static void for_each_handle(HandleState& state, F&& visit) {
    state.handles_.for_each([&](HandleBase& handle) { visit(handle); });
  }

  unsigned generation() const noexcept { return generation_.load(std::memory_order_relaxed); }

 private:
  HandleRegistry() {
    ::pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                     [] {
                       instance().generation_.fetch_add(1, std::memory_order_relaxed);
                       instance().mutex_.unlock();
                     });
  }

  std::mutex mutex_;
  HandleState* first_ = nullptr;
  std::atomic<unsigned> generation_{0};
};

namespace {
thread_local HandleCollector* collector = nullptr;

HandleRegistry& registry() { return HandleRegistry::instance(); }

using Words = std::span<std::uintptr_t>;

/// In a copy of the words at `address`, makes 0 of those of handles: they lead to a list, with other handles, that may
/// look like a vector.
void leave_out_handles(std::uintptr_t address, Words words) {
  registry().for_each([&](HandleState& state) {
    registry().for_each_handle(state, [&](const HandleBase& handle) {
      const auto begin = reinterpret_cast<std::uintptr_t>(&handle);
      const std::uintptr_t end = std::min(begin + sizeof handle, address + words.size_bytes());
      for (std::uintptr_t at = std::max(begin, address); at < end; at += sizeof(std::uintptr_t))
        words[(at - address) / sizeof(std::uintptr_t)] = 0;
    });
  });
}

/// The words in the memory, 0 in place of those of handles.
std::vector<std::uintptr_t> words_at(const void* memory, std::size_t size) {
  std::vector<std::uintptr_t> words(size / sizeof(std::uintptr_t));
  if (!words.empty()) std::memcpy(words.data(), memory, words.size() * sizeof(std::uintptr_t));
  leave_out_handles(reinterpret_cast<std::uintptr_t>(memory), words);
  return words;
}

/// Whether a word points to the handle at `address`, or three are a vector of handles that it is in.
bool refers_to(Words words, std::uintptr_t address) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::uintptr_t begin = words[i];
    if (begin == address) return true;
    if (begin == 0 || begin > address || i + 2 >= words.size() || (address - begin) % sizeof(HandleBase) != 0) continue;
    const std::uintptr_t end = words[i + 1];
    const std::uintptr_t capacity = words[i + 2];
    if (address < end && end <= capacity && (end - begin) % sizeof(HandleBase) == 0 &&
        (capacity - begin) % sizeof(HandleBase) == 0)
      return true;
  }
  return false;
}
}  // namespace

HandleState::HandleState(const char* what) : what_(what) { registry().add(*this); }
HandleState::~HandleState() { registry().remove(*this); }

void HandleState::last_reference_gone(std::uint64_t left) noexcept {
  if (left == 0) {
    // First: other threads tell every state that is registered what happens, and a fork copies it as it is.
    registry().remove(*this);
    delete this;
  } else if (given() && !registry().is_used(*this)) {
    close_in_child();
    given_.store(false, std::memory_order_relaxed);
  }
}

void HandleState::close_in_child() noexcept {
  std::vector<int> descriptors;
  try {
    list_descriptors(descriptors);
  } catch (const std::bad_alloc&) {
    return;  // they are closed with the process
  }
  for (const int descriptor : descriptors) ::close(descriptor);
  after_fork_in_child(false);
}

void HandleState::fail_not_given() const {
  throw std::logic_error(std::string("this ") + what_ +
                         " was not given to this process: pass it as an argument, or capture a copy of it");
}

HandleBase::HandleBase(IntrusivePtr<HandleState> state) { enter(std::move(state)); }
HandleBase::HandleBase(const HandleBase& other) : Link<HandleBase>() {
  if (collector && other.state_) collector->record(other, *other.state_);
  enter(other.state_);
}
HandleBase::HandleBase(HandleBase&& other) noexcept {
  IntrusivePtr<HandleState> state = other.state_;
  if (collector && state) collector->record(other, *state);
  other.reset();
  enter(std::move(state));
}
HandleBase& HandleBase::operator=(const HandleBase& other) {
  if (this == &other) return *this;
  reset();
  enter(other.state_);
  return *this;
}
HandleBase& HandleBase::operator=(HandleBase&& other) noexcept {
  if (this == &other) return *this;
  IntrusivePtr<HandleState> state = other.state_;
  other.reset();
  reset();
  enter(std::move(state));
  return *this;
}
HandleBase::~HandleBase() { reset(); }

void HandleBase::enter(IntrusivePtr<HandleState> state) noexcept {
  state_ = std::move(state);
  if (state_) registry().link(*this);
}

void HandleBase::reset() noexcept {
  if (!state_) return;
  registry().unlink(*this);
  if (std::exchange(foreign_, false))
    state_->references_.fetch_sub(HandleState::foreign_reference, std::memory_order_relaxed);
  state_ = IntrusivePtr<HandleState>();
}

void FoundHandles::add(const HandleBase& handle, HandleState& state) {
  if (!has(state)) states_.emplace_back(&state);
  if (!has(handle)) handles_.push_back(&handle);
}

void FoundHandles::add(const FoundHandles& others) {
  for (const IntrusivePtr<HandleState>& state : others.states_)
    if (!has(*state)) states_.push_back(state);
  for (const HandleBase* handle : others.handles_)
    if (!has(*handle)) handles_.push_back(handle);
}

bool FoundHandles::has(const HandleBase& handle) const noexcept {
  return std::find(handles_.begin(), handles_.end(), &handle) != handles_.end();
}

bool FoundHandles::has(const HandleState& state) const noexcept {
  return std::any_of(states_.begin(), states_.end(), [&](const auto& other) { return other.get() == &state; });
}

FoundHandles handles_in_vectors_at(const void* memory, std::size_t size) {
  FoundHandles found;
  for (const std::uintptr_t word : words_at(memory, size)) {
    std::array<std::uintptr_t, 3> vector;
    // A word may be anything: the kernel says whether there is memory.
    const iovec here = {vector.data(), sizeof vector};
    const iovec there = {reinterpret_cast<void*>(word), sizeof vector};
    if (word % alignof(std::uintptr_t) != 0 || word == 0 ||
        ::process_vm_readv(::getpid(), &here, 1, &there, 1, 0) != static_cast<ssize_t>(sizeof vector))
      continue;
    if (vector[0] >= vector[1] || vector[1] > vector[2]) continue;
    leave_out_handles(word, vector);
    found.add(handles_within(vector.data(), sizeof vector));
  }
  return found;
}

FoundHandles handles_within(const void* memory, std::size_t size) {
  std::vector<std::uintptr_t> words = words_at(memory, size);
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  FoundHandles found;
  // A handle that is still linked holds its reference, so another one can be taken.
  registry().for_each([&](HandleState& state) {
    registry().for_each_handle(state, [&](const HandleBase& handle) {
      const auto address = reinterpret_cast<std::uintptr_t>(&handle);
      if (address - begin < size || refers_to(words, address)) found.add(handle, state);
    });
  });
  return found;
}

bool handles_elsewhere(const FoundHandles& found) {
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  const std::uintptr_t largest_stack = std::uintptr_t{64} << 20;
  bool elsewhere = false;
  registry().for_each([&](HandleState& state) {
    if (found.has(state)) return;
    registry().for_each_handle(state, [&](HandleBase& handle) {
      const auto address = reinterpret_cast<std::uintptr_t>(&handle);
      elsewhere |= address < here || address > here + largest_stack;
    });
  });
  return elsewhere;
}

HandleCollector::HandleCollector() noexcept : outer_(std::exchange(collector, this)) {}
HandleCollector::~HandleCollector() { collector = outer_; }

void HandleCollector::record(const HandleBase& handle, HandleState& state) noexcept {
  try {
    handles_.add(handle, state);
  } catch (...) {
    error_ = std::current_exception();
  }
}

void HandleCollector::add_to(FoundHandles& to) const {
  if (error_) std::rethrow_exception(error_);
  to.add(handles_);
}

GivenHandles::GivenHandles(FoundHandles handles) : handles_(std::move(handles)) {
  // States may stay locked until the fork is over: in one order, whoever forks.
  auto& states = handles_.states_;
  std::sort(states.begin(), states.end(), [](const auto& a, const auto& b) { return std::less<>()(a.get(), b.get()); });
  std::size_t told = 0;
  try {
    for (; told < states.size(); ++told) states[told]->before_fork();
  } catch (...) {
    while (told > 0) states[--told]->after_fork_in_parent();
    throw;
  }
}

GivenHandles::~GivenHandles() {
  for (const IntrusivePtr<HandleState>& state : handles_.states_) state->after_fork_in_parent();
}

std::vector<int> GivenHandles::descriptors() const {
  std::vector<int> descriptors;
  for (const IntrusivePtr<HandleState>& state : handles_.states_) state->list_descriptors(descriptors);
  return descriptors;
}

std::vector<SocketFilePtr> GivenHandles::socket_files() const {
  std::vector<SocketFilePtr> files;
  for (const IntrusivePtr<HandleState>& state : handles_.states())
    if (SocketFilePtr file = state->file_of_socket()) files.push_back(std::move(file));
  return files;
}

void GivenHandles::in_child() noexcept {
  registry().for_each([&](HandleState& state) {
    const bool given = handles_.has(state);
    if (given)
      HandleRegistry::count_only(state, handles_);
    else
      state.given_.store(false, std::memory_order_relaxed);
    state.after_fork_in_child(given);
  });
  // What the destructor does is the parent's.
  for (IntrusivePtr<HandleState>& state : handles_.states_) static_cast<void>(state.release());
  handles_.states_.clear();
}

void waiting_for_others() noexcept {
  registry().for_each([](HandleState& state) { state.process_waits(); });
}

unsigned fork_generation() noexcept { return registry().generation(); }

}  // namespace cofork::detail
