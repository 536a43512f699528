// Codecs of the standard library's value types: pair, tuple, optional, variant, path; and Descriptor.
// (Complex numbers and chrono's durations and time points are trivially copyable and need none.)
#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <variant>

#include <cofork/ipc/codec_core.hpp>
#include <cofork/ipc/codec_sequences.hpp>

namespace cofork {

template <class A, class B>
struct Codec<std::pair<A, B>> : detail::OwnCodec<std::remove_cv_t<A>, std::remove_cv_t<B>> {
  static constexpr std::size_t min_size =
      detail::min_size_of_all(ipc::Types<std::remove_cv_t<A>, std::remove_cv_t<B>>{});
  static void encode(ipc::Writer& writer, const std::pair<A, B>& value) {
    ipc::encode(writer, value.first);
    ipc::encode(writer, value.second);
  }
  static std::pair<A, B> decode(ipc::Reader& reader) {
    return std::pair<A, B>{ipc::decode<A>(reader), ipc::decode<B>(reader)};
  }
};

template <class... T>
struct Codec<std::tuple<T...>> : detail::OwnCodec<std::remove_cv_t<T>...> {
  static constexpr std::size_t min_size = detail::min_size_of_all(ipc::Types<std::remove_cv_t<T>...>{});
  static void encode(ipc::Writer& writer, const std::tuple<T...>& value) {
    if constexpr (sizeof...(T) == 0) writer.value(std::uint8_t{0});
    std::apply([&](const T&... part) { (ipc::encode(writer, part), ...); }, value);
  }
  static std::tuple<T...> decode(ipc::Reader& reader) {
    if constexpr (sizeof...(T) == 0) reader.value<std::uint8_t>();
    return std::tuple<T...>{ipc::decode<T>(reader)...};
  }
};

template <class T>
struct Codec<std::optional<T>> : detail::OwnCodec<std::remove_cv_t<T>> {
  static void encode(ipc::Writer& writer, const std::optional<T>& value) {
    writer.value(value.has_value());
    if (value) ipc::encode(writer, *value);
  }
  static std::optional<T> decode(ipc::Reader& reader) {
    if (!reader.value<bool>()) return std::nullopt;
    return std::optional<T>(std::in_place, ipc::decode<T>(reader));
  }
};

template <>
struct Codec<std::monostate> : detail::OwnCodec<> {
  static void encode(ipc::Writer& writer, std::monostate) { writer.value(std::uint8_t{0}); }
  static std::monostate decode(ipc::Reader& reader) {
    reader.value<std::uint8_t>();
    return {};
  }
};

/// A variant that is valueless by exception is `std::bad_variant_access`.
template <class... T>
struct Codec<std::variant<T...>> : detail::OwnCodec<std::remove_cv_t<T>...> {
  using Variant = std::variant<T...>;
  using Index = std::conditional_t<sizeof...(T) <= 256, std::uint8_t, std::uint16_t>;
  static void encode(ipc::Writer& writer, const Variant& value) {
    writer.value(static_cast<Index>(value.index()));
    std::visit([&](const auto& alternative) { ipc::encode(writer, alternative); }, value);
  }
  static Variant decode(ipc::Reader& reader) { return decode_alternative(reader, std::index_sequence_for<T...>{}); }

 private:
  template <std::size_t... I>
  static Variant decode_alternative(ipc::Reader& reader, std::index_sequence<I...>) {
    using Decode = Variant (*)(ipc::Reader&);
    static constexpr Decode decoders[] = {
        [](ipc::Reader& from) { return Variant(std::in_place_index<I>, ipc::decode<T>(from)); }...};
    const Index index = reader.value<Index>();
    if (index >= sizeof...(T)) ipc::Reader::fail("an alternative that the variant does not have");
    return decoders[index](reader);
  }
};

namespace detail {
/// std::filesystem::path, recognised without its header, which is a heavy one.
template <class T>
concept FilesystemPath = requires(const T& path) {
  { path.native() } -> std::same_as<const typename T::string_type&>;
  { T::preferred_separator } -> std::convertible_to<typename T::value_type>;
};
}  // namespace detail

template <detail::FilesystemPath Path>
struct Codec<Path> : detail::OwnCodec<> {
  using String = typename Path::string_type;
  static void encode(ipc::Writer& writer, const Path& path) { ipc::encode(writer, path.native()); }
  static Path decode(ipc::Reader& reader) { return Path(ipc::decode<String>(reader)); }
};

/// Travels as a duplicate; one that is not valid arrives so.
template <>
struct Codec<ipc::Descriptor> : detail::OwnCodec<> {
  static void encode(ipc::Writer& writer, const ipc::Descriptor& descriptor) {
    writer.value(descriptor.valid());
    if (descriptor) writer.descriptor(descriptor.get());
  }
  static ipc::Descriptor decode(ipc::Reader& reader) {
    return reader.value<bool>() ? reader.descriptor() : ipc::Descriptor();
  }
};

}  // namespace cofork
