// What a class's `serialize(Archive&)` is called with.
#pragma once

#include <type_traits>

namespace cofork::ipc {

class Reader;
class Writer;

/// The archive that encodes: `ar(a, b, c)` appends the values. `serialize` is one function for both directions and so
/// takes its object as non-const; with this archive it must not change the object, which may be const.
class OutputArchive {
 public:
  explicit OutputArchive(Writer& writer) : writer_(writer) {}
  template <class... T>
  OutputArchive& operator()(const T&... values);

 private:
  Writer& writer_;
};

/// The archive that decodes: `ar(a, b, c)` assigns the values.
class InputArchive {
 public:
  explicit InputArchive(Reader& reader) : reader_(reader) {}
  template <class... T>
  InputArchive& operator()(T&... values);

 private:
  Reader& reader_;
};

}  // namespace cofork::ipc

namespace cofork::detail {

template <class T, class Archive>
concept MemberSerialize = requires(T& value, Archive& archive) {
  value.serialize(archive);
};
template <class T, class Archive>
concept FreeSerialize = requires(T& value, Archive& archive) {
  serialize(archive, value);
};

template <class T>
inline constexpr bool has_serialize = MemberSerialize<T, ipc::OutputArchive> || FreeSerialize<T, ipc::OutputArchive>;

template <class Archive, class T>
void call_serialize(Archive& archive, T& value) {
  if constexpr (MemberSerialize<T, Archive>) {
    value.serialize(archive);
  } else {
    serialize(archive, value);
  }
}

}  // namespace cofork::detail
