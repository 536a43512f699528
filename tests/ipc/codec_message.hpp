#pragma once

#include <algorithm>
#include <cofork/ipc/codec.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstddef>
#include <new>
#include <span>

namespace support {

/// A message in memory of exactly its size, so that the sanitizer sees every byte read beyond it.
class Message {
 public:
  explicit Message(std::span<const std::byte> bytes)
      : size_(bytes.size()),
        memory_(static_cast<std::byte*>(::operator new (size_, std::align_val_t{cofork::ipc::message_alignment}))) {
    std::copy(bytes.begin(), bytes.end(), memory_);
  }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message() { ::operator delete (memory_, std::align_val_t{cofork::ipc::message_alignment}); }
  std::span<const std::byte> bytes() const { return {memory_, size_}; }

 private:
  std::size_t size_;
  std::byte* memory_;
};

template <class T>
void decode_all(std::span<const std::byte> bytes) {
  const Message message(bytes);
  cofork::ipc::Reader reader(message.bytes());
  (void)cofork::ipc::decode<T>(reader);
  reader.finish();
}

/// Whether the bytes are a T; anything but a `DecodeError` otherwise fails the test.
template <class T>
bool decodes(std::span<const std::byte> bytes) {
  try {
    decode_all<T>(bytes);
    return true;
  } catch (const cofork::DecodeError&) {
    return false;
  }
}

}  // namespace support
