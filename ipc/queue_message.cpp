#include <cofork/ipc/queue_message.hpp>

namespace cofork::detail {

namespace {
constexpr std::size_t largest_kept = std::size_t{1} << 20;
thread_local std::unique_ptr<ipc::BufferWriter> kept;
}  // namespace

ThreadsWriter::ThreadsWriter() : writer_(std::move(kept)) {
  if (!writer_) writer_ = std::make_unique<ipc::BufferWriter>(4096);
}

ThreadsWriter::~ThreadsWriter() {
  if (writer_->size() > largest_kept) return;
  writer_->clear();
  kept = std::move(writer_);
}

}  // namespace cofork::detail
