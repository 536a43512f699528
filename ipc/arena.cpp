#include <algorithm>
#include <cofork/ipc/arena.hpp>
#include <cofork/ipc/task_segment.hpp>

namespace cofork::ipc {

std::size_t Arena::allocate(std::size_t size) {
  size = round_up(size, 64);
  std::size_t offset = begin_;
  auto next = blocks_.begin();
  for (; next != blocks_.end() && next->offset - offset < size; ++next) offset = next->end;
  const auto index = next - blocks_.begin();
  enlarge(offset + size);
  blocks_.insert(blocks_.begin() + index, {offset, offset + size});
  return offset;
}

bool Arena::extend(std::size_t offset, std::size_t size) {
  const auto block = std::find_if(blocks_.begin(), blocks_.end(), [&](const Block& b) { return b.offset == offset; });
  const std::size_t end = offset + round_up(size, 64);
  if (std::next(block) != blocks_.end() && std::next(block)->offset < end) return false;
  enlarge(end);
  block->end = std::max(block->end, end);
  return true;
}

void Arena::free(std::size_t offset) noexcept {
  std::erase_if(blocks_, [&](const Block& block) { return block.offset == offset; });
}

void Arena::give_back() {
  mapping_.discard(begin_, mapping_.size() - begin_);
  touched_ = begin_;
}

void Arena::enlarge(std::size_t end) {
  touched_ = std::max(touched_, end);
  if (end <= mapping_.size()) return;
  const std::size_t size = round_up(end, 256 * 1024);
  if (size > file_.size()) file_.grow(size);
  mapping_.resize(size);
}

}  // namespace cofork::ipc
