// Codecs of owning pointers, which travel as the value that they own, or as null. Values that are shared arrive once
// for each pointer; a cycle of shared pointers is `std::length_error`.
#pragma once

#include <concepts>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <typeinfo>

#include <cofork/ipc/codec_core.hpp>

namespace cofork::detail {

template <class T>
void encode_pointee(Writer& writer, const T* value) {
  writer.value(value != nullptr);
  if (value == nullptr) return;
  if constexpr (std::is_polymorphic_v<T>) {
    if (typeid(*value) != typeid(T)) {
      throw std::invalid_argument(std::string("a pointer to a base class cannot travel: it would cut off ") +
                                  typeid(*value).name());
    }
  }
  const Nesting nesting(writer);
  ipc::encode(writer, *value);
}

}  // namespace cofork::detail

namespace cofork {

template <class T>
requires(!std::is_array_v<T>) struct Codec<std::unique_ptr<T>> : detail::OwnCodec<std::remove_cv_t<T>> {
  static void encode(ipc::Writer& writer, const std::unique_ptr<T>& pointer) {
    detail::encode_pointee(writer, pointer.get());
  }
  static std::unique_ptr<T> decode(ipc::Reader& reader) {
    if (!reader.value<bool>()) return nullptr;
    const detail::Nesting nesting(reader);
    return std::unique_ptr<T>(new T(ipc::decode<std::remove_cv_t<T>>(reader)));
  }
};

template <class T>
requires(!std::is_array_v<T>) struct Codec<std::shared_ptr<T>> : detail::OwnCodec<std::remove_cv_t<T>> {
  static void encode(ipc::Writer& writer, const std::shared_ptr<T>& pointer) {
    detail::encode_pointee(writer, pointer.get());
  }
  static std::shared_ptr<T> decode(ipc::Reader& reader) {
    if (!reader.value<bool>()) return nullptr;
    const detail::Nesting nesting(reader);
    return std::make_shared<T>(ipc::decode<std::remove_cv_t<T>>(reader));
  }
};

}  // namespace cofork
