#include <algorithm>
#include <cofork/executors/map_job.hpp>
#include <cofork/ipc/descriptor_passing.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstdio>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace cofork::detail {

namespace {
// A chunk is about so much work, in nanoseconds, and so many bytes.
constexpr double chunk_work = 2e5;
constexpr std::size_t chunk_bytes = 16 * 1024;
constexpr std::size_t chunk_descriptors = 16;
// Chunks for each worker that are in flight or wait to be taken.
constexpr std::size_t chunks_per_worker = 16;
}  // namespace

MapJobBase::MapJobBase(IntrusivePtr<PoolCore> core, const MapOptions& options, ipc::TaskSender::Function function,
                       std::uint64_t function_key)
    : ordered_(options.ordered),
      core_(std::move(core)),
      statistics_(core_->statistics(function_key)),
      function_(function),
      chunksize_(options.chunksize),
      buffersize_(options.buffersize),
      timeout_(options.timeout),
      limits_{options.item_timeout, {}, options.retries, 0} {
  if (options.timeout.count() < 0) throw std::invalid_argument("MapOptions::timeout is negative");
  if (options.item_timeout.count() < 0) throw std::invalid_argument("MapOptions::item_timeout is negative");
  deadline_.job = this;
}

void MapJobBase::start() {
  if (timeout_.count() != 0) {
    deadline_.start(deadline_after(timeout_), [](Timer& timer) noexcept {
      MapJobBase& job = *static_cast<Deadline&>(timer).job;
      const IntrusivePtr<MapJobBase> alive(&job);
      job.expire();
    });
  }
  core_->open_inputs().push_back(*this);
  core_->enqueue(*this);
}

/// What was done by now can still be taken.
void MapJobBase::expire() noexcept {
  expired_ = true;
  cut_off_ = !input_ended_ && left() != 0;
  stop_chunks();
  consumer.wake();
}

/// Nothing further is pulled.
void MapJobBase::end_input() noexcept {
  input_ended_ = true;
  OpenInput::unlink();
}

void MapJobBase::close() noexcept {
  if (closed_) return;
  closed_ = true;
  deadline_.stop();
  stop_chunks();
  forget_results();
  consumer.wake();
}

void MapJobBase::stop_chunks() noexcept {
  end_input();
  stop_input();
  core_->remove(*this);
  chunks_.for_each([&](MapChunk& chunk) {
    const IntrusivePtr<MapChunk> alive(&chunk);
    if (chunk.parcel) {
      core_->count_cancelled(chunk, 0, static_cast<std::uint32_t>(chunk.parcel->pending()));
      core_->remove(*chunk.parcel);
    }
    core_->cancel_in_worker(chunk);
  });
  chunks_.for_each([&](MapChunk& chunk) {
    const IntrusivePtr<MapChunk> alive(&chunk);
    if (core_->executing(chunk)) core_->stop(chunk, StopReason::cancelled);
  });
  core_->schedule();
}

bool MapJobBase::check_next() {
  if (closed_) return false;
  if (has_next()) return true;
  if (at_end() || !expired_) return false;
  close();
  char text[80];
  std::snprintf(text, sizeof text, "the map exceeded its timeout of %g s",
                std::chrono::duration<double>(timeout_).count());
  throw TimeoutError(text);
}

void MapJobBase::taken() {
  ++taken_;
  if (input_ended_ || queued() || !more()) return;
  core_->enqueue(*this);
}

std::optional<std::uint64_t> MapJobBase::expected() const {
  if (closed_) return 0;
  const std::uint64_t in_hand = pulled_ - taken_;
  if (input_ended_) return in_hand;
  const std::optional<std::uint64_t> more = left();
  return more ? std::optional(in_hand + *more) : std::nullopt;
}

// Sending.

std::size_t MapJobBase::chunk_size() const noexcept {
  if (chunksize_ != 0) return chunksize_;
  if (!statistics_.known()) return 1;
  double size = std::clamp(chunk_work / std::max(statistics_.nanoseconds, 1.0), 1.0, 4096.0);
  // Towards the end in smaller ones, so that no worker finishes alone.
  if (const std::optional<std::uint64_t> items = left())
    size = std::min(size, std::max(1.0, static_cast<double>(*items) / (2.0 * core_->max_workers())));
  return static_cast<std::size_t>(size);
}

std::size_t MapJobBase::buffer_size() const noexcept {
  if (buffersize_ != 0) return buffersize_;
  return core_->max_workers() * chunks_per_worker * (chunksize_ != 0 || statistics_.known() ? chunk_size() : 1);
}

std::size_t MapJobBase::room() const noexcept {
  const std::size_t size = unbounded_ ? std::numeric_limits<std::size_t>::max() : buffer_size();
  const std::size_t used = static_cast<std::size_t>(pulled_ - taken_);
  return size > used ? size - used : 0;
}

bool MapJobBase::more() noexcept {
  if (closed_ || input_ended_) return false;
  // Not for each item that is taken: chunks would become as small as that.
  const std::size_t worth_it = std::max<std::size_t>(1, std::min(chunk_size(), buffer_size() / 4));
  return room() >= worth_it;
}

Filled MapJobBase::fill(ipc::TaskSender::Message& message, std::uint32_t items) {
  const std::size_t most = std::min<std::size_t>(items, chunk_size());
  std::uint32_t count = 0;
  std::uint64_t begin = pulled_;
  const auto chunk_is_full = [&] {
    return message.descriptors().size() >= chunk_descriptors || (chunksize_ == 0 && message.size() >= chunk_bytes);
  };
  while (!input_ended_ && count < most && room() > 0 && !chunk_is_full()) {
    const std::size_t mark = message.size();
    const std::size_t descriptors = message.descriptors().size();
    message.value(ipc::ItemHeader{});
    try {
      const Pulled pulled = pull(message);
      if (pulled != Pulled::item) {
        message.rewind(mark, descriptors);
        if (pulled == Pulled::end) end_input();
        break;
      }
      if (message.descriptors().size() > ipc::max_descriptors_per_message)
        throw std::length_error("more descriptors than can travel together");
    } catch (...) {
      message.rewind(mark, descriptors);
      expect_item();
      fail_item(pulled_++, std::current_exception());
      if (count > 0) break;
      begin = pulled_;
      continue;
    }
    const ipc::ItemHeader header{message.size() - mark - sizeof(ipc::ItemHeader),
                                 message.descriptors().size() - descriptors};
    std::memcpy(const_cast<std::byte*>(message.data()) + mark, &header, sizeof header);
    expect_item();
    ++pulled_;
    ++count;
  }
  if (input_error_) {
    expect_item();
    fail_item(pulled_++, std::exchange(input_error_, nullptr));
  }
  if (at_end()) consumer.wake();
  if (count == 0) return {};
  core_->count_submitted(count);
  return {make_intrusive<MapChunk>(IntrusivePtr<MapJobBase>(this), begin, count, limits_), function_, count,
          ipc::TaskFrame::chunk, 0};
}

void MapJobBase::input_failed(std::exception_ptr error) {
  input_error_ = std::move(error);
  end_input();
}

void MapJobBase::input_arrived() {
  if (!closed_ && !input_ended_ && !queued()) core_->enqueue(*this);
}

void MapJobBase::fail_item(std::uint64_t index, std::exception_ptr error) noexcept {
  if (closed_ || (ordered_ && index < taken_)) return;
  store_error(index, std::move(error));
  if (has_next()) consumer.wake();
}

void MapJobBase::drop(const std::exception_ptr& error) noexcept {
  // The pool closes, or is broken: the next item of the input is the first that fails, and the last.
  if (closed_ || input_ended_) return;
  end_input();
  stop_input();
  expect_item();
  fail_item(pulled_++, error ? error : std::make_exception_ptr(CancelledError("the pool was closed")));
}

void MapJobBase::pool_closes() noexcept {
  // What has an end, and may be sent without waiting for results to be taken, is sent as if it had been from the first.
  if (buffersize_ != 0 || !left())
    return drop(std::make_exception_ptr(InvalidStateError("the pool was shut down: it takes no further work")));
  unbounded_ = true;
  if (!queued()) core_->enqueue(*this);
}

// Chunks.

MapChunk::MapChunk(IntrusivePtr<MapJobBase> job, std::uint64_t first, std::uint32_t count,
                   const TaskLimits& task_limits)
    : job_(std::move(job)), first_(first), count_(count) {
  limits = task_limits;
  is_coroutine = job_->is_coroutine_;
  statistics = &job_->statistics_;
  job_->chunks_.push_back(*this);
}

void MapChunk::value(std::uint32_t item, ipc::Reader& result) {
  if (job_->closed_) return;
  job_->store_value(first_ + item, result);
  if (job_->has_next()) job_->consumer.wake();
}

void MapChunk::failed(std::uint32_t item, std::exception_ptr error) noexcept {
  job_->fail_item(first_ + item, std::move(error));
}

void MapChunk::cancelled(std::uint32_t item) noexcept {
  if (job_->expired_) return;  // which says why
  job_->fail_item(first_ + item, std::make_exception_ptr(CancelledError()));
}

bool MapChunk::urgent() const noexcept {
  if (!job_->consumer.waiting()) return false;
  return !job_->ordered_ || (first_ <= job_->taken_ && job_->taken_ < first_ + count_);
}

std::string MapChunk::name() const { return job_->function_name(); }

IntrusivePtr<Piece> MapChunk::split(std::uint32_t first, std::uint32_t count) {
  if (first == 0 && count == count_) return IntrusivePtr<Piece>(this);
  if (first + count == count_) count_ = first;
  auto chunk = make_intrusive<MapChunk>(job_, first_ + first, count, limits);
  if (marks.number != 0) chunk->marks.number = marks.number + first;
  return chunk;
}

}  // namespace cofork::detail
