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
    : MapProgress(options),
      core_(std::move(core)),
      statistics_(core_->statistics(function_key)),
      function_(function),
      chunksize_(options.chunksize),
      limits_{options.item_timeout, {}, options.retries, 0} {}

void MapJobBase::start() {
  begin(core_->open_inputs());
  core_->enqueue(*this);
}

void MapJobBase::stop_items() noexcept {
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

void MapJobBase::taken() {
  ++taken_;
  if (more()) pull_more();
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
  const std::size_t worth_it = taken_ == 0 ? 1 : std::max<std::size_t>(1, std::min(chunk_size(), buffer_size() / 4));
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
  if (ended()) consumer.wake();
  if (count == 0) return {};
  core_->count_submitted(count);
  return {make_intrusive<MapChunk>(IntrusivePtr<MapJobBase>(this), begin, count, limits_), function_, count,
          ipc::TaskFrame::chunk, 0};
}

void MapJobBase::pull_more() noexcept {
  if (!closed_ && !input_ended_ && !QueueEntry::linked()) core_->enqueue(*this);
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
  job_->stored();
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
