// The consumers' half of QueueState.
#include <algorithm>
#include <cofork/ipc/queue_state.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace cofork::detail {

namespace {
/// Before so much memory is allocated for a message, it is worth a look whether it is still there.
constexpr std::uint64_t doubtful_size = 64 * 1024;
/// Blocks are reused: small ones would have to be replaced soon.
constexpr std::size_t smallest_block = 16 * 1024;
}  // namespace

QueueTake QueueState::try_take(QueueTaken& taken) {
  // Its death is to be noticed: a producer may wait for the room that it makes.
  join();
  QueueTake result;
  if (joinable_) {
    const MonitorLock guard(*this);
    settle();
    result = take_any(taken);
  } else {
    result = take_any(taken);
  }
  if (result == QueueTake::done) changed_atomically();
  return result;
}

QueueTake QueueState::take_any(QueueTaken& taken) {
  QueueMemory& shared = memory();
  for (;;) {
    const LogPosition at = head();
    // Producers write the tail all the time: while there is something before where it was seen last, leave it to them.
    LogPosition end(tail_seen_.load(std::memory_order_acquire));
    if (at.number() >= end.number()) {
      // In this order: once it is shut, the tail stays, and an empty queue is empty for good.
      const bool shut = shared.shut.load(std::memory_order_acquire) != 0;
      end = tail();
      if (at == end) return shut ? QueueTake::shut : QueueTake::empty;
      if (at.number() >= end.number()) throw DecodeError("malformed queue: its beginning is after its end");
      tail_seen_.store(end.word(), std::memory_order_release);
    }
    const LogRecord record = log_.read(at);
    LogPosition next;
    bool received = false;
    if (record.kind() == LogRecord::message) {
      if (!read_message(at, record, end, taken)) continue;
      next = at.plus(LogRecord::units(record.size()));
    } else if (record.kind() == LogRecord::ticket && record.size() == sizeof(PacketId)) {
      next = at.plus(LogRecord::units(sizeof(PacketId)));
      received = receive_packet(at, taken);
    } else if (record.kind() == LogRecord::jump && record.size() >= LogPosition::first_region &&
               record.size() <= LogPosition::last_region) {
      const LogPosition to = at.jump_to(static_cast<unsigned>(record.size()));
      if (move_head(at, to) && at.region() >= first_large_region && at.region() != to.region() && !joinable_)
        give_back();
      continue;
    } else {
      if (head() == at) throw DecodeError("malformed queue: there is no message where one should be");
      continue;
    }
    const bool is_message = record.kind() == LogRecord::message;
    const bool passed = pass(at, next, record, is_message || received);
    if (is_message ? !passed : !received) continue;
    if (at.region() >= first_large_region && next == tail()) {
      if (joinable_) {
        discard_drained();
      } else {
        give_back();
      }
    }
    return QueueTake::done;
  }
}

bool QueueState::read_message(LogPosition at, const LogRecord& record, LogPosition end, QueueTaken& taken) {
  const std::uint64_t size = record.size();
  const bool possible =
      LogRecord::units(size) <= end.number() - at.number() && size < (std::uint64_t{1} << at.region());
  if (!possible || size > doubtful_size) {
    std::atomic_thread_fence(std::memory_order_acquire);
    if (head() != at) return false;
    if (!possible) throw DecodeError("malformed queue: a message longer than what is there");
  }
  const auto length = static_cast<std::size_t>(size);
  taken.decoded = false;
  if (taken.decode)
    if (const std::byte* const message = log_.bytes_in_place(at, length))
      return decode_in_place(at, {message, length}, taken);
  std::byte* to = taken.small;
  if (length > sizeof taken.small) {
    if (taken.large.capacity() < length + sizeof(std::uint64_t))
      taken.large = MessageBlock(std::max(length + sizeof(std::uint64_t), smallest_block));
    to = taken.large.data();
  }
  log_.read_bytes(at, to, length);
  taken.bytes = {to, length};
  return true;
}

bool QueueState::decode_in_place(LogPosition at, std::span<const std::byte> message, QueueTaken& taken) {
  taken.error = nullptr;
  try {
    taken.decode(taken.value, message);
  } catch (...) {
    std::atomic_thread_fence(std::memory_order_acquire);
    if (head() != at) return false;
    taken.error = std::current_exception();
  }
  taken.decoded = true;
  return true;
}

bool QueueState::receive_packet(LogPosition ticket, QueueTaken& taken) {
  PacketId id;
  log_.read_bytes(ticket, reinterpret_cast<std::byte*>(&id), sizeof id);
  std::atomic_thread_fence(std::memory_order_acquire);
  if (head() != ticket) return false;
  if (!receiver_) throw DecodeError("malformed queue: a message with descriptors that cannot hold any");
  for (;;) {
    auto packet = std::make_unique<IncomingMessage>();
    if (receiver_->try_receive(*packet) != MessageSocket::Received::done) return false;
    PacketId received;
    if (packet->bytes().size() < packet_id_room) throw DecodeError("malformed queue: a packet without its number");
    std::memcpy(&received, packet->bytes().data(), sizeof received);
    // Its producer died before it put the ticket.
    if (received.number < ticket.number() || (received.number == ticket.number() && received != id)) continue;
    taken.packet = std::move(packet);
    changed();  // there is room in the socket, even if somebody else moves the head
    return true;
  }
}

bool QueueState::pass(LogPosition from, LogPosition to, const LogRecord& record, bool taken) {
  if (!joinable_) return move_head(from, to);
  QueueMemory& shared = memory();
  // A message that nobody can be working on is done.
  const std::uint64_t target = taken ? place() : QueueMemory::target_done;
  const std::uint64_t value = 1 + (taken ? member(place()).word[0].load() : shared.done.load());
  prepare(QueueMemory::take, record.ordinal, target, value);
  const bool passed = move_head(from, to);
  settle();
  if (!taken) changed();
  return passed;
}

void QueueState::give_back() noexcept {
  try {
    const MonitorLock guard(*this);
    discard_drained();
  } catch (const std::system_error&) {
    // It is an optimisation.
  }
}

void QueueState::discard_drained() noexcept {
  try {
    pass_jumps();
    const LogPosition end = tail();
    if (end == head() && end.region() >= first_large_region) {
      jump(end, LogPosition::first_region, log_.ordinal(end));
      pass_jumps();
    }
    const unsigned first = head().region(), last = tail().region();
    std::uint64_t touched = memory().touched.load(std::memory_order_relaxed);
    for (unsigned region = first_large_region; region <= LogPosition::last_region; ++region) {
      const std::uint64_t bit = std::uint64_t{1} << region;
      if ((touched & bit) == 0 || (region >= first && region <= last)) continue;
      log_.discard(region);
      memory().touched.store(touched &= ~bit, std::memory_order_relaxed);
    }
  } catch (const std::exception&) {
    // The memory stays where it is.
  }
}

// --- Work that is done ---

void QueueState::prepare(std::uint64_t first, std::uint64_t before, std::uint64_t target,
                         std::uint64_t value) noexcept {
  QueueMemory& shared = memory();
  shared.redo_before.store(before, std::memory_order_relaxed);
  shared.redo_target.store(target, std::memory_order_relaxed);
  shared.redo_value.store(value, std::memory_order_relaxed);
  shared.redo.store(first, std::memory_order_release);
}

void QueueState::settle() noexcept {
  QueueMemory& shared = memory();
  const std::uint64_t first = shared.redo.load(std::memory_order_acquire);
  if (first == 0) return;
  try {
    const std::uint64_t now = first == QueueMemory::take ? log_.ordinal(head()) : shared.done.load();
    if (now > shared.redo_before.load()) {
      const std::uint64_t target = shared.redo_target.load();
      const std::uint64_t value = shared.redo_value.load();
      if (target == QueueMemory::target_done) {
        shared.done.store(value);
      } else if (target < MonitorHeader::max_members) {
        member(static_cast<std::uint32_t>(target)).word[0].store(value);
      }
    }
  } catch (const std::exception&) {
    // Damaged memory: each use of it says so.
  }
  shared.redo.store(0, std::memory_order_release);
}

void QueueState::task_done() {
  check_given();
  {
    const MonitorLock guard(*this);
    settle();
    QueueMemory& shared = memory();
    const std::uint64_t done = shared.done.load();
    if (done >= log_.ordinal(tail()))
      throw std::logic_error("task_done() was called more often than there were messages");
    // Its own message or, where the one who works on it is not the one who took it, another's.
    std::uint32_t owner = place();
    for (std::uint32_t other = 0; member(owner).word[0].load() == 0 && other < places_used(); ++other) owner = other;
    const std::uint64_t working = member(owner).word[0].load();
    prepare(QueueMemory::finish, done, owner, working == 0 ? 0 : working - 1);
    shared.done.store(done + 1);
    settle();
  }
  changed_atomically();
}

void QueueState::member_gone(std::uint32_t gone) noexcept {
  if (!joinable_) return;
  settle();
  QueueMemory& shared = memory();
  const std::uint64_t working = member(gone).word[0].load();
  if (working == 0) return;
  const std::uint64_t done = shared.done.load();
  prepare(QueueMemory::finish, done, gone, 0);
  shared.done.store(done + working);
  settle();
}

}  // namespace cofork::detail
