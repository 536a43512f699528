#include "exception_codec.hpp"

#include <cxxabi.h>
#include <fmt/format.h>

#include <algorithm>
#include <cofork/executors/exception_kinds.hpp>
#include <cofork/executors/exception_origin.hpp>
#include <cofork/executors/function_id.hpp>
#include <cofork/executors/register_exception.hpp>
#include <cofork/executors/stack_trace.hpp>
#include <cofork/executors/throw_trace.hpp>
#include <cofork/ipc/descriptor_passing.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstring>
#include <span>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

namespace cofork::detail {

namespace {

using ipc::Reader;
using ipc::Writer;

/// Which of `exception_kinds` follows.
using Tag = std::uint8_t;
/// Or one that was registered: with what anyone needs who has not registered it, and then what its codec wrote.
constexpr Tag registered_tag = 255;

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

/// False if it is not registered, or its codec cannot encode it.
bool encode_registered(Writer& writer, const std::type_info& type, const std::exception_ptr& error,
                       const char* what = nullptr) {
  const RegisteredException* const registered = find_registered_exception(type);
  if (!registered) return false;
  // Apart, as it may fail half-way, and whoever does not know it must be able to skip it.
  ipc::BufferWriter body;
  try {
    registered->encode(body, error);
  } catch (...) {
    return false;
  }
  writer.value(registered_tag);
  writer.value(reinterpret_cast<std::uintptr_t>(registered));
  encode_text(writer, type_name(type));
  encode_text(writer, what ? what : fmt::format("a {} was thrown", type_name(type)));
  writer.value<std::uint64_t>(body.size());
  writer.value<std::uint32_t>(static_cast<std::uint32_t>(body.descriptors().size()));
  writer.align(ipc::message_alignment);
  writer.bytes(body.data(), body.size());
  for (ipc::Descriptor& descriptor : body.descriptors()) writer.descriptors().push_back(std::move(descriptor));
  return true;
}

std::exception_ptr decode_registered(Reader& reader, const std::exception_ptr& nested) {
  const RegisteredException* const registered = find_registered_exception(reader.value<std::uintptr_t>());
  const std::string name = decode_text(reader);
  const std::string what = decode_text(reader);
  const auto size = reader.value<std::uint64_t>();
  std::vector<ipc::Descriptor> descriptors(
      std::min<std::uint32_t>(reader.value<std::uint32_t>(), ipc::max_descriptors_per_message));
  reader.align(ipc::message_alignment);
  if (size > reader.remaining()) Reader::fail("an exception beyond the end of the message");
  const std::span<const std::byte> bytes(reader.in_place(static_cast<std::size_t>(size)),
                                         static_cast<std::size_t>(size));
  for (ipc::Descriptor& descriptor : descriptors) descriptor = reader.descriptor();
  if (!registered) return make_exception(RemoteError(name, what), nested);
  Reader body(bytes, descriptors);
  return registered->decode(body, nested);
}

void encode_exception_object(Writer& writer, const std::exception& error, const std::exception_ptr& pointer) {
  const auto* const nesting = dynamic_cast<const NestingException*>(&error);
  const std::type_info& type = nesting ? nesting->type_without_nested() : public_type(typeid(error));
  if (encode_registered(writer, type, pointer, error.what())) return;
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
  } catch (const NestingException& nesting) {
    const std::type_info& type = nesting.type_without_nested();
    if (encode_registered(writer, type, error)) return;
    encode_remote(writer, type_name(type), fmt::format("a {} was thrown", type_name(type)));
  } catch (const char* text) {
    encode_remote(writer, "char const*", text ? text : "");
  } catch (const std::string& text) {
    encode_remote(writer, "std::string", text);
  } catch (int number) {
    encode_remote(writer, "int", fmt::format("the int {} was thrown", number));
  } catch (...) {
    const std::type_info* const type = abi::__cxa_current_exception_type();
    if (type && encode_registered(writer, public_type(*type), error)) return;
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

/// Where it was thrown; and, if it had come from another process, from which.
void encode_origin(Writer& writer, const std::exception_ptr& error) {
  const ExceptionOrigin origin = origin_of(error);
  const bool foreign = origin.pid != 0;
  std::span<const std::uintptr_t> stack = foreign ? std::span(origin.stack) : throw_trace(error);
  stack = stack.first(std::min(stack.size(), max_stack_frames));
  writer.value(foreign);
  if (foreign) {
    writer.value(origin.pid);
    encode_text(writer, origin.task_name);
  }
  writer.size(stack.size());
  writer.bytes(stack.data(), stack.size_bytes());
}

void encode(Writer& writer, const std::exception_ptr& error, unsigned depth) {
  encode_origin(writer, error);
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& exception) {
    encode_nested(writer, dynamic_cast<const std::nested_exception*>(&exception), depth);
    encode_exception_object(writer, exception, error);
  } catch (const std::nested_exception& outer) {
    encode_nested(writer, &outer, depth);
    encode_other(writer, error);
  } catch (...) {
    encode_nested(writer, nullptr, depth);
    encode_other(writer, error);
  }
}

ExceptionOrigin decode_origin(Reader& reader, pid_t pid, const std::string& task_name) {
  ExceptionOrigin origin{pid, {}, {}};
  if (reader.value<bool>()) {
    origin.pid = reader.value<pid_t>();
    origin.task_name = decode_text(reader);
  } else {
    origin.task_name = task_name;
  }
  origin.stack.resize(reader.size(sizeof(std::uintptr_t)));
  reader.bytes(origin.stack.data(), origin.stack.size() * sizeof(std::uintptr_t));
  if (origin.stack.size() > max_stack_frames) Reader::fail("a stack that is too deep");
  return origin;
}

std::exception_ptr decode(Reader& reader, pid_t pid, const std::string& task_name, unsigned depth) {
  if (depth > max_nested_exceptions) Reader::fail("exceptions nested too deep");
  ExceptionOrigin origin = decode_origin(reader, pid, task_name);
  const std::exception_ptr nested = reader.value<bool>() ? decode(reader, pid, task_name, depth + 1) : nullptr;
  const auto tag = reader.value<Tag>();
  if (tag != registered_tag && tag >= exception_kinds().size()) Reader::fail("an exception of no known type");
  std::exception_ptr error =
      tag == registered_tag ? decode_registered(reader, nested) : exception_kinds()[tag].decode(reader, nested);
  if (origin.pid != 0) set_origin(error, std::move(origin));
  return error;
}

}  // namespace

void encode_exception(Writer& writer, const std::exception_ptr& error) { encode(writer, error, 0); }

std::exception_ptr decode_exception(Reader& reader, pid_t pid, const std::string& task_name) {
  return decode(reader, pid, task_name, 0);
}

}  // namespace cofork::detail
