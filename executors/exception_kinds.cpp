#include "exception_kinds.hpp"

#include <algorithm>
#include <any>
#include <array>
#include <chrono>
#include <cofork/executors/exception_origin.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <ios>
#include <memory>
#include <new>
#include <optional>
#include <regex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <version>

#if defined(__cpp_lib_format)
#include <format>
#endif

namespace cofork::detail {

namespace {

using ipc::Reader;
using ipc::Writer;

void encode_what(Writer& writer, const std::exception& error) {
  const char* const what = error.what();
  encode_text(writer, what ? what : "");
}

/// For classes that make a `what()` of their own out of a code: gives back the one that `error` had.
template <class Base, class E>
E with_what(E error, const std::string& what) {
  static_cast<Base&>(error) = Base(what);
  return error;
}

/// Made from a text, which is its what().
template <class E>
constexpr ExceptionKind text() {
  return {&typeid(E), encode_what, [](Reader& reader, const std::exception_ptr& nested) {
            return make_exception(E(decode_text(reader)), nested);
          }};
}

/// Always the same.
template <class E>
constexpr ExceptionKind fixed() {
  return {&typeid(E), [](Writer&, const std::exception&) {},
          [](Reader&, const std::exception_ptr& nested) { return make_exception(E(), nested); }};
}

/// Stands for categories whose objects are not known to be in both processes. Equal to no other, so that a number is
/// not taken for an errno that it is not.
class ForeignCategory final : public std::error_category {
 public:
  const char* name() const noexcept override { return "foreign"; }
  std::string message(int value) const override {
    return "error " + std::to_string(value) + " of a category that does not travel between processes";
  }
};

const std::error_category& foreign_category() {
  static const ForeignCategory category;
  return category;
}

std::array<const std::error_category*, 5> categories() {
  return {&foreign_category(), &std::generic_category(), &std::system_category(), &std::iostream_category(),
          &std::future_category()};
}

void encode_code(Writer& writer, const std::error_code& code) {
  const auto known = categories();
  const auto found = std::find(known.begin(), known.end(), &code.category());
  writer.value(static_cast<std::uint8_t>(found == known.end() ? 0 : found - known.begin()));
  writer.value(static_cast<std::int32_t>(code.value()));
}

std::error_code decode_code(Reader& reader) {
  const auto category = reader.value<std::uint8_t>();
  const auto known = categories();
  if (category >= known.size()) Reader::fail("an error code of no known category");
  return {reader.value<std::int32_t>(), *known[category]};
}

void encode_system_error(Writer& writer, const std::exception& error) {
  encode_code(writer, static_cast<const std::system_error&>(error).code());
  encode_what(writer, error);
}

std::exception_ptr decode_system_error(Reader& reader, const std::exception_ptr& nested) {
  const std::error_code code = decode_code(reader);
  return make_exception(with_what<std::runtime_error>(std::system_error(code), decode_text(reader)), nested);
}

std::exception_ptr decode_stream_failure(Reader& reader, const std::exception_ptr& nested) {
  const std::error_code code = decode_code(reader);
  return make_exception(with_what<std::runtime_error>(std::ios_base::failure("", code), decode_text(reader)), nested);
}

void encode_future_error(Writer& writer, const std::exception& error) {
  writer.value(static_cast<std::int32_t>(static_cast<const std::future_error&>(error).code().value()));
  encode_what(writer, error);
}

std::exception_ptr decode_future_error(Reader& reader, const std::exception_ptr& nested) {
  const auto code = static_cast<std::future_errc>(reader.value<std::int32_t>());
  return make_exception(with_what<std::logic_error>(std::future_error(code), decode_text(reader)), nested);
}

void encode_regex_error(Writer& writer, const std::exception& error) {
  writer.value(static_cast<std::uint8_t>(static_cast<const std::regex_error&>(error).code()));
  encode_what(writer, error);
}

std::exception_ptr decode_regex_error(Reader& reader, const std::exception_ptr& nested) {
  const auto code = reader.value<std::uint8_t>();
  if (code >= 16) Reader::fail("a regex_error of no known kind");  // the enumeration has room for four bits
  const std::regex_error error(static_cast<std::regex_constants::error_type>(code));
  return make_exception(with_what<std::runtime_error>(error, decode_text(reader)), nested);
}

void encode_filesystem_error(Writer& writer, const std::exception& exception) {
  const auto& error = static_cast<const std::filesystem::filesystem_error&>(exception);
  encode_code(writer, error.code());
  encode_text(writer, error.std::system_error::what());
  encode_text(writer, error.path1().native());
  encode_text(writer, error.path2().native());
}

std::exception_ptr decode_filesystem_error(Reader& reader, const std::exception_ptr& nested) {
  using std::filesystem::filesystem_error;
  const std::error_code code = decode_code(reader);
  std::string what = decode_text(reader);
  const std::filesystem::path first = decode_text(reader);
  const std::filesystem::path second = decode_text(reader);
  // The constructor appends this again. Of a foreign category it is another message, and both stay.
  const std::string message = ": " + code.message();
  if (what.ends_with(message)) what.resize(what.size() - message.size());
  if (!second.empty()) return make_exception(filesystem_error(what, first, second, code), nested);
  if (!first.empty()) return make_exception(filesystem_error(what, first, code), nested);
  return make_exception(filesystem_error(what, code), nested);
}

struct ThrowsWhenMade {
  ThrowsWhenMade() { throw 0; }
  ~ThrowsWhenMade() {}  // a variant of trivial types only is never valueless
};
using MayBeValueless = std::variant<int, ThrowsWhenMade>;

MayBeValueless valueless() {
  MayBeValueless variant;
  try {
    variant.emplace<ThrowsWhenMade>();
  } catch (int) {
  }
  return variant;
}

/// The texts cannot be set, but each is to be had by the mistake that it describes.
std::exception_ptr decode_bad_variant_access(Reader& reader, const std::exception_ptr& nested) {
  using Mistake = void (*)();
  static constexpr Mistake mistakes[] = {
      [] { static_cast<void>(std::get<1>(MayBeValueless())); },
      [] { static_cast<void>(std::get<1>(valueless())); },
      [] { std::visit([](const auto&) {}, valueless()); },
      [] { std::visit<void>([](const auto&) {}, valueless()); },
  };
  const std::string what = decode_text(reader);
  for (const Mistake mistake : mistakes) {
    try {
      mistake();
    } catch (const std::bad_variant_access& made) {
      if (made.what() == what) return make_exception(made, nested);
    }
  }
  return make_exception(std::bad_variant_access(), nested);
}

void encode_remote_error(Writer& writer, const std::exception& error) {
  encode_text(writer, static_cast<const RemoteError&>(error).type_name());
  encode_what(writer, error);
}

std::exception_ptr decode_remote_error(Reader& reader, const std::exception_ptr& nested) {
  std::string type_name = decode_text(reader);
  return make_exception(RemoteError(std::move(type_name), decode_text(reader)), nested);
}

void encode_worker_died(Writer& writer, const std::exception& exception) {
  const auto& error = static_cast<const WorkerDied&>(exception);
  encode_what(writer, error);
  writer.value(error.pid());
  writer.value(error.exitcode());
  encode_text(writer, error.task_name());
  const std::optional<TaskUsage> usage = error.usage();
  writer.value(usage.has_value());
  if (!usage) return;
  writer.value(usage->pid);
  for (const auto time : {usage->queued, usage->wall, usage->user, usage->system}) writer.value(time.count());
  writer.value(usage->max_rss);
}

std::exception_ptr decode_worker_died(Reader& reader, const std::exception_ptr& nested) {
  const std::string what = decode_text(reader);
  const auto pid = reader.value<pid_t>();
  const auto exitcode = reader.value<int>();
  std::string task_name = decode_text(reader);
  std::optional<TaskUsage> usage;
  if (reader.value<bool>()) {
    usage.emplace().pid = reader.value<pid_t>();
    for (auto* const time : {&usage->queued, &usage->wall, &usage->user, &usage->system}) {
      *time = std::chrono::nanoseconds(reader.value<std::chrono::nanoseconds::rep>());
    }
    usage->max_rss = reader.value<std::size_t>();
  }
  return make_exception(WorkerDied(what, pid, exitcode, std::move(task_name), usage), nested);
}

const ExceptionKind kinds[] = {
    {&typeid(RemoteError), encode_remote_error, decode_remote_error},
    {&typeid(WorkerDied), encode_worker_died, decode_worker_died},
    text<Error>(),
    text<CancelledError>(),
    text<KeyboardInterrupt>(),
    text<TimeoutError>(),
    text<InvalidStateError>(),
    text<BrokenProcessPool>(),
    text<DecodeError>(),
    text<EndOfFile>(),
    text<QueueEmpty>(),
    text<QueueFull>(),
    text<QueueShutDown>(),
    text<BrokenBarrier>(),
    text<OwnerDied>(),
    text<AuthenticationError>(),
    text<std::logic_error>(),
    text<std::domain_error>(),
    text<std::invalid_argument>(),
    text<std::length_error>(),
    text<std::out_of_range>(),
    text<std::runtime_error>(),
    text<std::range_error>(),
    text<std::overflow_error>(),
    text<std::underflow_error>(),
#if defined(__cpp_lib_format)
    text<std::format_error>(),
#endif
    fixed<std::exception>(),
    fixed<std::bad_exception>(),
    fixed<std::bad_alloc>(),
    fixed<std::bad_array_new_length>(),
    fixed<std::bad_cast>(),
    fixed<std::bad_any_cast>(),
    fixed<std::bad_typeid>(),
    fixed<std::bad_function_call>(),
    fixed<std::bad_optional_access>(),
    fixed<std::bad_weak_ptr>(),
    {&typeid(std::bad_variant_access), encode_what, decode_bad_variant_access},
    {&typeid(std::system_error), encode_system_error, decode_system_error},
    {&typeid(std::ios_base::failure), encode_system_error, decode_stream_failure},
    {&typeid(std::filesystem::filesystem_error), encode_filesystem_error, decode_filesystem_error},
    {&typeid(std::future_error), encode_future_error, decode_future_error},
    {&typeid(std::regex_error), encode_regex_error, decode_regex_error},
};

}  // namespace

void encode_text(Writer& writer, std::string_view text) {
  writer.size(text.size());
  writer.bytes(text.data(), text.size());
}

std::string decode_text(Reader& reader) {
  std::string text(reader.size(1), '\0');
  reader.bytes(text.data(), text.size());
  return text;
}

std::span<const ExceptionKind> exception_kinds() { return kinds; }

}  // namespace cofork::detail
