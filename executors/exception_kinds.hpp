// The types of exceptions that travel between processes as themselves, and how each is written and made again.
#pragma once

#include <cofork/ipc/reader.hpp>
#include <cofork/ipc/writer.hpp>
#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <typeinfo>

namespace cofork::detail {

struct ExceptionKind {
  const std::type_info* type;
  /// Appends what makes up `error`, which is of this very type.
  void (*encode)(ipc::Writer& writer, const std::exception& error);
  /// Makes it again, with `nested` in it unless that is null. Throws DecodeError.
  std::exception_ptr (*decode)(ipc::Reader& reader, const std::exception_ptr& nested);
};

/// In an order that is the same in every fork of this program. The first is RemoteError.
std::span<const ExceptionKind> exception_kinds();

void encode_text(ipc::Writer& writer, std::string_view text);
std::string decode_text(ipc::Reader& reader);

}  // namespace cofork::detail
