// A queue whose members lie one after the other in memory.
#pragma once

#include <cstddef>
#include <iterator>
#include <utility>
#include <vector>

namespace cofork::detail {

/// Members are appended at the end and leave at the front. One that is short again and again stays in the same few
/// cache lines, and allocates nothing, which `std::deque` does every few members. Appending moves members.
template <class T>
class SlidingVector {
 public:
  T* begin() noexcept { return items_.data() + first_; }
  const T* begin() const noexcept { return items_.data() + first_; }
  T* end() noexcept { return items_.data() + items_.size(); }
  const T* end() const noexcept { return items_.data() + items_.size(); }
  auto rbegin() noexcept { return std::reverse_iterator(end()); }
  auto rend() noexcept { return std::reverse_iterator(begin()); }

  bool empty() const noexcept { return first_ == items_.size(); }
  std::size_t size() const noexcept { return items_.size() - first_; }
  T& front() noexcept { return *begin(); }
  T& operator[](std::size_t i) noexcept { return begin()[i]; }
  const T& operator[](std::size_t i) const noexcept { return begin()[i]; }

  template <class... A>
  void emplace_back(A&&... arguments) {
    // Rather than to grow, while most of the memory is of those that left.
    if (items_.size() == items_.capacity() && first_ > items_.size() / 2) {
      items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(first_));
      first_ = 0;
    }
    items_.emplace_back(std::forward<A>(arguments)...);
  }
  void pop_front() noexcept {
    const T gone = std::move(front());
    if (++first_ < items_.size()) return;
    items_.clear();
    first_ = 0;
  }

 private:
  std::vector<T> items_;
  std::size_t first_ = 0;
};

}  // namespace cofork::detail
