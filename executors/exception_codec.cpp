#include "exception_codec.hpp"

#include <cxxabi.h>
#include <fmt/format.h>

#include <cofork/executors/exception_kinds.hpp>
#include <cofork/executors/function_id.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstring>
#include <string>
#include <typeinfo>

namespace cofork::detail {

namespace {

using ipc::Reader;
using ipc::Writer;

/// Which of `exception_kinds` follows.
using Tag = std::uint8_t;

/// Looks through types that only the implementation knows: std::_Nested_exception<T> of std::throw_with_nested,
/// std::__ios_failure that streams throw.
const std::type_info& public_type(const std::type_info& type) {
  const char* name = type.name();
  if (std::strncmp(name, "St", 2) != 0) return type;
  name += 2 + std::strspn(name + 2, "0123456789");
  if (*name != '_') return type;
  if (const auto* const several = dynamic_cast<const abi::__vmi_class_type_info*>(&type)) {
    return public_type(*several->__base_info[0].__base_type);
  }
  if (const auto* const single = dynamic_cast<const abi::__si_class_type_info*>(&type)) {
    return public_type(*single->__base_type);
  }
  return type;
}

void encode_kind(Writer& writer, std::size_t tag, const std::exception& error) {
  writer.value(static_cast<Tag>(tag));
  exception_kinds()[tag].encode(writer, error);
}

void encode_remote(Writer& writer, const std::string& type, const std::string& what) {
  encode_kind(writer, 0, RemoteError(type, what));
}

void encode_exception_object(Writer& writer, const std::exception& error) {
  const std::type_info& type = public_type(typeid(error));
  const auto kinds = exception_kinds();
  for (std::size_t tag = 0; tag < kinds.size(); ++tag) {
    if (*kinds[tag].type == type) return encode_kind(writer, tag, error);
  }
  const char* const what = error.what();
  encode_remote(writer, type_name(type), what ? what : "");
}

/// What is no std::exception: `what()` is the text that was thrown, or tells the number.
void encode_other(Writer& writer, const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const char* text) {
    encode_remote(writer, "char const*", text ? text : "");
  } catch (const std::string& text) {
    encode_remote(writer, "std::string", text);
  } catch (int number) {
    encode_remote(writer, "int", fmt::format("the int {} was thrown", number));
  } catch (...) {
    const std::type_info* const type = abi::__cxa_current_exception_type();
    const std::string name = type ? type_name(public_type(*type)) : "object of an unknown type";
    encode_remote(writer, name, fmt::format("a {} was thrown", name));
  }
}

void encode(Writer& writer, const std::exception_ptr& error, unsigned depth);

void encode_nested(Writer& writer, const std::nested_exception* outer, unsigned depth) {
  const std::exception_ptr nested = outer && depth < max_nested_exceptions ? outer->nested_ptr() : nullptr;
  writer.value(nested != nullptr);
  if (nested) encode(writer, nested, depth + 1);
}

void encode(Writer& writer, const std::exception_ptr& error, unsigned depth) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& exception) {
    encode_nested(writer, dynamic_cast<const std::nested_exception*>(&exception), depth);
    encode_exception_object(writer, exception);
  } catch (const std::nested_exception& outer) {
    encode_nested(writer, &outer, depth);
    encode_other(writer, error);
  } catch (...) {
    encode_nested(writer, nullptr, depth);
    encode_other(writer, error);
  }
}

std::exception_ptr decode(Reader& reader, unsigned depth) {
  if (depth > max_nested_exceptions) Reader::fail("exceptions nested too deep");
  const std::exception_ptr nested = reader.value<bool>() ? decode(reader, depth + 1) : nullptr;
  const auto tag = reader.value<Tag>();
  if (tag >= exception_kinds().size()) Reader::fail("an exception of no known type");
  return exception_kinds()[tag].decode(reader, nested);
}

}  // namespace

void encode_exception(Writer& writer, const std::exception_ptr& error) { encode(writer, error, 0); }

std::exception_ptr decode_exception(Reader& reader) { return decode(reader, 0); }

}  // namespace cofork::detail
