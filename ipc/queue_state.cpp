#include <algorithm>
#include <bit>
#include <cofork/ipc/queue_state.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstring>
#include <new>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

namespace cofork::detail {

namespace {
constexpr std::uint32_t queue_kind = 10;

constexpr std::uint64_t bit_of(unsigned region) { return std::uint64_t{1} << region; }

void set(std::atomic<std::uint64_t>& word, std::uint64_t value) { word.store(value, std::memory_order_relaxed); }
std::uint64_t get(const std::atomic<std::uint64_t>& word) { return word.load(std::memory_order_relaxed); }
}  // namespace

QueueState::QueueState(std::size_t maxsize, bool joinable, bool with_descriptors)
    : Monitor("queue", queue_kind, sizeof(QueueMemory)), joinable_(joinable), lifeline_(Lifeline::create()) {
  if (with_descriptors) std::tie(sender_, receiver_) = PacketSocket::create_pair();
  memory().maxsize = maxsize;
  memory().joinable = joinable;
  const LogPosition begin(LogPosition::first_region, 0);
  memory().tail = begin.word();
  memory().head = begin.word();
  memory().head_seen = begin.word();
}

QueueState::QueueState(ipc::Reader& reader, bool joinable)
    : Monitor("queue", queue_kind, sizeof(QueueMemory), reader),
      joinable_(memory().joinable != 0),
      log_(reader.descriptor()) {
  ipc::Descriptor read_end = reader.descriptor();
  lifeline_ = Lifeline(std::move(read_end), reader.descriptor());
  if (reader.value<bool>()) {
    sender_ = PacketSocket::received(reader.descriptor());
    receiver_ = PacketSocket::received(reader.descriptor());
  }
  if (joinable && !joinable_) ipc::Reader::fail("a queue that is not joinable");
}

QueueState::~QueueState() {
  if (sender_) MessageFiles::drop_all_of(files_);
  leave();
}

void QueueState::close_in_child() noexcept {
  if (sender_) MessageFiles::drop_all_of(files_);
  Monitor::close_in_child();
}

void QueueState::encode(ipc::Writer& writer) {
  Monitor::encode(writer);
  const std::lock_guard guard(lifeline_mutex_);
  writer.descriptor(log_.descriptor());
  writer.descriptor(lifeline_.watch_descriptor());
  const ipc::Descriptor write_end = lifeline_.write_end();
  writer.descriptor(write_end.get());
  writer.value(sender_ != nullptr);
  if (sender_) {
    writer.descriptor(sender_->descriptor());
    writer.descriptor(receiver_->descriptor());
  }
  memory().had_producers = 1;
  given_away_ = true;
}

// --- Who may still put something ---

void QueueState::begin_to_write() {
  check_given();
  const std::lock_guard guard(lifeline_mutex_);
  lifeline_.hold();
  memory().had_producers = 1;
  writing_.store(true, std::memory_order_release);
}

bool QueueState::producers_are_gone() const {
  if (memory().had_producers.load() == 0) return false;
  const std::lock_guard guard(lifeline_mutex_);
  return !lifeline_.held() && lifeline_.ended();
}

void QueueState::process_waits() noexcept {
  if (writing_ || !(given_away_ || reading_)) return;
  const std::unique_lock guard(lifeline_mutex_, std::try_to_lock);
  // Who has the lock gives the queue away, or uses it.
  if (guard.owns_lock() && !writing_) lifeline_.let_go();
}

void QueueState::list_descriptors(std::vector<int>& to) const {
  Monitor::list_descriptors(to);
  if (!lifeline_.valid()) return;
  to.push_back(log_.descriptor());
  lifeline_.list_descriptors(to);
  if (sender_) to.insert(to.end(), {sender_->descriptor(), receiver_->descriptor()});
}

void QueueState::before_fork() {
  // Held until the fork is over: no other thread closes what the child is to have.
  std::unique_lock guard(lifeline_mutex_);
  if (lifeline_.valid()) {
    lifeline_.before_fork();
    memory().had_producers = 1;
    given_away_ = true;
  }
  guard.release();
}

void QueueState::after_fork_in_parent() noexcept {
  lifeline_.after_fork_in_parent();
  lifeline_mutex_.unlock();
}

void QueueState::after_fork_in_child(bool given) noexcept {
  Monitor::after_fork_in_child(given);
  // Another thread of the parent may have held it.
  new (&lifeline_mutex_) std::recursive_mutex;
  writing_ = reading_ = given_away_ = false;
  lifeline_.after_fork_in_child(given);
  if (given) return;
  log_.forget_file();
  // Their descriptors are closed already.
  static_cast<void>(sender_.release());
  static_cast<void>(receiver_.release());
}

// --- Putting ---

bool QueueState::has_room(LogPosition tail, std::uint64_t units) const noexcept {
  const LogPosition seen(get(memory().head_seen));
  const std::uint64_t begin = seen.region() == tail.region() ? seen.number() : get(memory().entry[tail.region()]);
  const std::uint64_t size = bit_of(tail.region()) / LogPosition::unit;
  return tail.number() - begin + units <= size;
}

void QueueState::pass_jumps() {
  for (;;) {
    const LogPosition at = head();
    if (at.number() >= tail().number()) return;
    const LogRecord record = log_.read(at);
    if (record.kind() != LogRecord::jump || record.size() > LogPosition::last_region) return;
    move_head(at, at.jump_to(static_cast<unsigned>(record.size())));
  }
}

void QueueState::see_head() {
  LogPosition at;
  std::uint64_t ordinal;
  do {
    pass_jumps();
    at = head();
    ordinal = log_.ordinal(at);
  } while (at != head());
  // In either order: the older value of each is right, too.
  set(memory().head_seen, at.word());
  set(memory().ordinal_seen, ordinal);
}

LogPosition QueueState::jump(LogPosition at, unsigned region, std::uint64_t ordinal) {
  const LogPosition to = at.jump_to(region);
  if (region != at.region()) {
    log_.provide(region);
    set(memory().touched, get(memory().touched) | bit_of(region));
    set(memory().entry[region], to.number());
  }
  log_.set_ordinal(to, ordinal);
  log_.set_kind_and_size(at, LogRecord::pack(LogRecord::jump, region));
  memory().tail.store(to.word(), std::memory_order_release);
  return to;
}

LogPosition QueueState::make_room(LogPosition at, std::uint64_t units, std::uint64_t ordinal) {
  see_head();
  if (has_room(at, units)) return beginning_is_better(at, units) ? jump(at, at.region(), ordinal) : at;
  // Larger ones are free: regions from the head's to the tail's follow each other in rising order, and the log returns
  // to the first one only when it is empty.
  const auto large_enough = static_cast<unsigned>(std::bit_width(units * LogPosition::unit - 1));
  return jump(at, std::max(at.region() + 1, large_enough), ordinal);
}

bool QueueState::beginning_is_better(LogPosition at, std::uint64_t units) const noexcept {
  const LogPosition head(get(memory().head_seen));
  if (head.region() != at.region() || head.offset() > at.offset()) return false;
  const std::uint64_t used = at.number() - head.number();
  return head.offset() / LogPosition::unit >= used + units;
}

bool QueueState::send(QueueItem& item, PacketId& id) {
  static std::atomic<std::uint64_t> count{0};
  id.process = own_identity();
  id.count = ++count;
  // The packet is private until it is sent.
  std::memcpy(const_cast<std::byte*>(item.packet->data()), &id, sizeof id);
  return sender_->try_send(item.packet) == MessageSocket::Sent::done;
}

QueuePut QueueState::try_put(QueueItem& item) {
  if (!writing_.load(std::memory_order_acquire)) [[unlikely]]
    begin_to_write();
  QueueMemory& shared = memory();
  {
    const MonitorLock guard(*this);
    if (get(shared.shut)) return QueuePut::shut;
    LogPosition at = tail();
    const std::uint64_t ordinal = log_.ordinal(at);
    if (shared.maxsize != 0 && ordinal - get(shared.ordinal_seen) >= shared.maxsize) {
      see_head();
      if (ordinal - get(shared.ordinal_seen) >= shared.maxsize) return QueuePut::full;
    }
    const std::size_t size = item.packet ? sizeof(PacketId) : item.bytes.size() + item.more.size();
    if (size > LogRecord::largest) throw std::length_error("message too large");
    const std::uint64_t units = LogRecord::units(size);
    log_.expect_writing(at, size);
    // With one more, for what comes next.
    if (!has_room(at, units + 1) || at.offset() % stride + units * LogPosition::unit >= stride) [[unlikely]]
      at = make_room(at, units + 1, ordinal);
    if (item.packet) {
      PacketId id{at.number()};
      if (!send(item, id)) return QueuePut::full;
      log_.write_bytes(at, 0, std::as_bytes(std::span(&id, 1)));
    } else {
      log_.write_bytes(at, 0, item.bytes);
      if (!item.more.empty()) log_.write_bytes(at, item.bytes.size(), item.more);
    }
    log_.set_kind_and_size(at, LogRecord::pack(item.packet ? LogRecord::ticket : LogRecord::message, size));
    const LogPosition next = at.plus(units);
    log_.set_ordinal(next, ordinal + 1);
    shared.tail.store(next.word(), std::memory_order_release);
  }
  changed_atomically();
  return QueuePut::done;
}

OutgoingMessagePtr QueueState::packet_of(ipc::Writer& writer) const {
  if (!sender_) throw std::logic_error("a message with descriptors whose type cannot hold any");
  auto packet = std::make_unique<OutgoingMessage>(sender_->in_line_limit(), files_);
  packet->reserve(packet_id_room + writer.size());
  std::memset(packet->claim(packet_id_room), 0, packet_id_room);
  packet->bytes(writer.data(), writer.size());
  packet->descriptors() = std::move(writer.descriptors());
  packet->finish();
  return packet;
}

void QueueState::shut() {
  check_given();
  {
    const MonitorLock guard(*this);
    memory().shut.store(1, std::memory_order_release);
  }
  changed_atomically();
}

// --- What all may know ---

std::size_t QueueState::count() const {
  check_given();
  for (;;) {
    const LogPosition from = head(), to = tail();
    const std::uint64_t first = log_.ordinal(from), end = log_.ordinal(to);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (from == head() && to == tail()) return static_cast<std::size_t>(end - first);
  }
}

bool QueueState::all_done() const {
  check_given();
  for (;;) {
    const LogPosition to = tail();
    const std::uint64_t put = log_.ordinal(to);
    const std::uint64_t done = memory().done.load();
    if (to == tail()) return done >= put;
  }
}

void throw_queue_closed() { throw std::logic_error("this queue is closed"); }
void throw_queue_shut() { throw QueueShutDown("the queue was shut down"); }
void throw_queue_full() { throw QueueFull("the queue is full"); }
void throw_queue_empty() { throw QueueEmpty("the queue is empty"); }

}  // namespace cofork::detail
