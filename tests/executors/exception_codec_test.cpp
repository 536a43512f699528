#include <any>
#include <cofork/executors/exception_codec.hpp>
#include <cofork/executors/function_id.hpp>
#include <cofork/runtime/errors.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <ios>
#include <memory>
#include <new>
#include <optional>
#include <random>
#include <regex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <typeinfo>
#include <variant>
#include <vector>

#include "support/catch.hpp"

using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace user {

struct ParseError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct NoStandardException {};
struct SaysNothing : std::exception {
  const char* what() const noexcept override { return nullptr; }
};
struct Polymorphic {
  virtual ~Polymorphic() = default;
};
struct Category final : std::error_category {
  const char* name() const noexcept override { return "user"; }
  std::string message(int) const override { return "out of cheese"; }
};

}  // namespace user

namespace {

std::exception_ptr travelled(const std::exception_ptr& error) {
  cofork::ipc::BufferWriter writer;
  cofork::detail::encode_exception(writer, error);
  cofork::ipc::Reader reader(writer.message());
  std::exception_ptr arrived = cofork::detail::decode_exception(reader);
  reader.finish();
  return arrived;
}

/// What `body` throws, after its journey.
template <class F>
std::exception_ptr thrown_by(F body) {
  try {
    body();
  } catch (...) {
    return travelled(std::current_exception());
  }
  return nullptr;
}

template <class E, class Use>
void caught(const std::exception_ptr& error, Use use) {
  REQUIRE(error);
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    INFO("arrived as " << cofork::detail::type_name(typeid(e)) << ": " << e.what());
    const auto* const expected = dynamic_cast<const E*>(&e);
    REQUIRE(expected);
    use(*expected);
  }
}

template <class E>
void arrives_as_itself(const E& sent) {
  caught<E>(travelled(std::make_exception_ptr(sent)), [&](const E& arrived) {
    CHECK(typeid(arrived) == typeid(E));
    CHECK(std::string(arrived.what()) == sent.what());
  });
}

template <class... E>
void texts_arrive() {
  (arrives_as_itself(E("what happened")), ...);
  (arrives_as_itself(E("")), ...);
}

template <class... E>
void fixed_ones_arrive() {
  (arrives_as_itself(E()), ...);
}

template <class F>
void what_a_mistake_throws_arrives(F mistake) {
  std::string what = "nothing was thrown";
  try {
    mistake();
  } catch (const std::exception& e) {
    what = e.what();
  }
  caught<std::exception>(thrown_by(mistake), [&](const std::exception& arrived) {
    CHECK(arrived.what() == what);
    CHECK(dynamic_cast<const cofork::RemoteError*>(&arrived) == nullptr);
  });
}

void arrives_as_remote(const std::exception_ptr& arrived, const std::string& type_name, const std::string& what) {
  caught<cofork::RemoteError>(arrived, [&](const cofork::RemoteError& e) {
    CHECK(e.type_name() == type_name);
    CHECK(e.what() == what);
  });
}

}  // namespace

TEST_CASE("the standard exceptions that carry a text arrive as themselves") {
  texts_arrive<std::logic_error, std::domain_error, std::invalid_argument, std::length_error, std::out_of_range,
               std::runtime_error, std::range_error, std::overflow_error, std::underflow_error>();
  arrives_as_itself(std::runtime_error(std::string(100'000, 'x')));
}

TEST_CASE("the standard exceptions with a fixed text arrive as themselves") {
  fixed_ones_arrive<std::exception, std::bad_exception, std::bad_alloc, std::bad_array_new_length, std::bad_cast,
                    std::bad_any_cast, std::bad_typeid, std::bad_function_call, std::bad_optional_access,
                    std::bad_weak_ptr, std::bad_variant_access>();
}

TEST_CASE("the library's own exceptions arrive as themselves") {
  using namespace cofork;
  texts_arrive<Error, CancelledError, KeyboardInterrupt, TimeoutError, InvalidStateError, BrokenProcessPool,
               DecodeError, EndOfFile, QueueEmpty, QueueFull, QueueShutDown, BrokenBarrier, OwnerDied,
               AuthenticationError>();
}

TEST_CASE("what the language and the library throw arrives with its own text") {
  what_a_mistake_throws_arrives([] { static_cast<void>(std::get<1>(std::variant<int, char>())); });
  what_a_mistake_throws_arrives([] { static_cast<void>(std::optional<int>().value()); });
  what_a_mistake_throws_arrives([] { static_cast<void>(std::any_cast<int>(std::any(1.5))); });
  what_a_mistake_throws_arrives([] { std::function<void()>()(); });
  what_a_mistake_throws_arrives([] { static_cast<void>(std::vector<int>().at(3)); });
  what_a_mistake_throws_arrives([] { static_cast<void>(std::stoi("seven")); });
  what_a_mistake_throws_arrives([] { std::shared_ptr<int> pointer{std::weak_ptr<int>()}; });
  what_a_mistake_throws_arrives([] {
    const user::Polymorphic object;
    struct Other : user::Polymorphic {};
    static_cast<void>(dynamic_cast<const Other&>(static_cast<const user::Polymorphic&>(object)));
  });
}

TEST_CASE("a variant that is valueless says so after the journey too") {
  struct Throws {
    Throws() { throw 0; }
    ~Throws() {}  // no trivial type: those are constructed aside and never leave a variant without a value
  };
  std::variant<int, Throws> variant;
  CHECK_THROWS_AS(variant.emplace<Throws>(), int);
  REQUIRE(variant.valueless_by_exception());
  what_a_mistake_throws_arrives([&] { static_cast<void>(std::get<0>(variant)); });
  what_a_mistake_throws_arrives([&] { std::visit([](const auto&) {}, variant); });
}

TEST_CASE("a system_error keeps its code and its text") {
  const std::error_code codes[] = {{ENOENT, std::generic_category()},
                                   {EACCES, std::system_category()},
                                   std::make_error_code(std::io_errc::stream),
                                   std::make_error_code(std::future_errc::broken_promise)};
  for (const std::error_code& code : codes) {
    const std::system_error sent(code, "open config.toml");
    arrives_as_itself(sent);
    caught<std::system_error>(travelled(std::make_exception_ptr(sent)),
                              [&](const std::system_error& e) { CHECK(e.code() == code); });
  }
}

TEST_CASE("a code of a user's category keeps its number and its text and is taken for no errno") {
  static const user::Category category;
  const std::system_error sent(std::error_code(ENOENT, category), "lunch");
  arrives_as_itself(sent);
  caught<std::system_error>(travelled(std::make_exception_ptr(sent)), [](const std::system_error& e) {
    CHECK(e.code().value() == ENOENT);
    CHECK(e.code() != std::errc::no_such_file_or_directory);
    CHECK(!e.code().message().empty());
  });
}

TEST_CASE("a filesystem_error keeps its paths") {
  const auto code = std::make_error_code(std::errc::file_exists);
  const fs::filesystem_error errors[] = {{"copy", code}, {"copy", "a", code}, {"copy", "a", "b\xff", code}};
  for (const auto& sent : errors) {
    arrives_as_itself(sent);
    caught<fs::filesystem_error>(travelled(std::make_exception_ptr(sent)), [&](const fs::filesystem_error& e) {
      CHECK(e.code() == code);
      CHECK(e.path1() == sent.path1());
      CHECK(e.path2() == sent.path2());
    });
  }
  caught<fs::filesystem_error>(thrown_by([] { static_cast<void>(fs::file_size("/no/such/file")); }), [](const auto& e) {
    CHECK(e.path1() == "/no/such/file");
    CHECK(e.code() == std::errc::no_such_file_or_directory);
  });
}

TEST_CASE("what a stream throws is an ios_base failure") {
  arrives_as_itself(std::ios_base::failure("broken disk"));
  const auto read_nothing = [] {
    std::ifstream stream;
    stream.exceptions(std::ios::failbit);
    stream.open("/no/such/file");
  };
  caught<std::ios_base::failure>(thrown_by(read_nothing), [](const std::ios_base::failure& e) {
    CHECK(typeid(e) == typeid(std::ios_base::failure));
    CHECK(e.code() == std::io_errc::stream);
  });
  what_a_mistake_throws_arrives(read_nothing);
}

TEST_CASE("a future_error and a regex_error keep their codes") {
  arrives_as_itself(std::future_error(std::future_errc::no_state));
  caught<std::future_error>(thrown_by([] {
                              std::future<int> future = std::promise<int>().get_future();
                              future.get();
                            }),
                            [](const std::future_error& e) { CHECK(e.code() == std::future_errc::broken_promise); });
  const auto wrong = [] { std::regex("(unclosed"); };
  what_a_mistake_throws_arrives(wrong);
  caught<std::regex_error>(thrown_by(wrong),
                           [](const std::regex_error& e) { CHECK(e.code() == std::regex_constants::error_paren); });
}

TEST_CASE("a WorkerDied keeps its fields") {
  using cofork::WorkerDied;
  arrives_as_itself(WorkerDied("killed by SIGSEGV", 17, -11, "score"));
  const cofork::TaskUsage usage{18, 1ns, 2ns, 3ns, 4ns, 5};
  const WorkerDied sent("exited with status 3", 18, 3, "parse", usage);
  caught<WorkerDied>(travelled(std::make_exception_ptr(sent)), [](const WorkerDied& e) {
    CHECK(e.pid() == 18);
    CHECK(e.exitcode() == 3);
    CHECK(e.task_name() == "parse");
    REQUIRE(e.usage());
    CHECK(e.usage()->pid == 18);
    CHECK(e.usage()->queued == 1ns);
    CHECK(e.usage()->wall == 2ns);
    CHECK(e.usage()->user == 3ns);
    CHECK(e.usage()->system == 4ns);
    CHECK(e.usage()->max_rss == 5);
  });
  caught<WorkerDied>(travelled(std::make_exception_ptr(WorkerDied("killed", 17, -9, "f"))),
                     [](const WorkerDied& e) { CHECK(!e.usage()); });
}

TEST_CASE("a user's own type arrives as RemoteError with its name") {
  arrives_as_remote(thrown_by([] { throw user::ParseError("line 3"); }), "user::ParseError", "line 3");
  arrives_as_remote(thrown_by([] { throw user::SaysNothing(); }), "user::SaysNothing", "");
}

TEST_CASE("what is no exception arrives as RemoteError") {
  arrives_as_remote(thrown_by([] { throw 42; }), "int", "the int 42 was thrown");
  arrives_as_remote(thrown_by([] { throw "a text"; }), "char const*", "a text");
  arrives_as_remote(thrown_by([] { throw std::string("a text"); }), "std::string", "a text");
  arrives_as_remote(thrown_by([] { throw user::NoStandardException(); }), "user::NoStandardException",
                    "a user::NoStandardException was thrown");
}

TEST_CASE("a RemoteError that travels on keeps the first name") {
  const auto once = thrown_by([] { throw user::ParseError("line 3"); });
  arrives_as_remote(travelled(once), "user::ParseError", "line 3");
}

TEST_CASE("a nested exception arrives inside the outer one") {
  const auto fail = [] {
    try {
      throw std::out_of_range("inner");
    } catch (...) {
      std::throw_with_nested(std::runtime_error("outer"));
    }
  };
  // twice: what was made anew is looked through again
  for (const auto& arrived : {thrown_by(fail), travelled(thrown_by(fail))}) {
    caught<std::runtime_error>(arrived, [](const std::runtime_error& outer) {
      CHECK(std::string(outer.what()) == "outer");
      CHECK(dynamic_cast<const cofork::RemoteError*>(&outer) == nullptr);
      CHECK_THROWS_AS(std::rethrow_if_nested(outer), std::out_of_range);
    });
  }
}

TEST_CASE("a nested exception arrives inside a RemoteError") {
  const auto user_outside = thrown_by([] {
    try {
      throw std::out_of_range("inner");
    } catch (...) {
      std::throw_with_nested(user::ParseError("outer"));
    }
  });
  arrives_as_remote(user_outside, "user::ParseError", "outer");
  caught<cofork::RemoteError>(user_outside, [](const cofork::RemoteError& outer) {
    CHECK_THROWS_AS(std::rethrow_if_nested(outer), std::out_of_range);
  });
  const auto no_exception_outside = thrown_by([] {
    try {
      throw 7;
    } catch (...) {
      std::throw_with_nested(user::NoStandardException());
    }
  });
  caught<cofork::RemoteError>(no_exception_outside, [](const cofork::RemoteError& outer) {
    CHECK(outer.type_name() == "user::NoStandardException");
    CHECK_THROWS_AS(std::rethrow_if_nested(outer), cofork::RemoteError);
  });
}

TEST_CASE("exceptions that are nested too deep lose the innermost ones") {
  std::exception_ptr error = std::make_exception_ptr(std::runtime_error("innermost"));
  for (int i = 0; i < 100; ++i) {
    try {
      try {
        std::rethrow_exception(error);
      } catch (...) {
        std::throw_with_nested(std::runtime_error("outer"));
      }
    } catch (...) {
      error = std::current_exception();
    }
  }
  error = travelled(error);
  unsigned depth = 0;
  for (std::exception_ptr next = error; next; ++depth) {
    try {
      std::rethrow_exception(std::exchange(next, nullptr));
    } catch (const std::nested_exception& outer) {
      next = outer.nested_ptr();
    } catch (const std::runtime_error&) {
    }
  }
  CHECK(depth == cofork::detail::max_nested_exceptions + 1);
}

TEST_CASE("bytes that are no exception are a DecodeError") {
  const auto decode = [](std::span<const std::byte> bytes) {
    cofork::ipc::Reader reader(bytes);
    std::exception_ptr error;
    try {
      error = cofork::detail::decode_exception(reader);
    } catch (const cofork::DecodeError&) {
      error = std::current_exception();
    }
    CHECK(error);
  };
  cofork::ipc::BufferWriter writer;
  try {
    try {
      throw fs::filesystem_error("copy", "a", "b", std::make_error_code(std::errc::file_exists));
    } catch (...) {
      std::throw_with_nested(cofork::WorkerDied("died", 1, 2, "task", cofork::TaskUsage{}));
    }
  } catch (...) {
    cofork::detail::encode_exception(writer, std::current_exception());
  }
  for (std::size_t length = 0; length < writer.size(); ++length) {
    const std::vector<std::byte> cut(writer.data(), writer.data() + length);
    cofork::ipc::Reader reader(cut);
    CHECK_THROWS_AS(cofork::detail::decode_exception(reader), cofork::DecodeError);
  }
  decode(std::vector<std::byte>(10'000, std::byte{1}));
  std::mt19937 random(1);
  for (int i = 0; i < 20'000; ++i) {
    std::vector<std::byte> bytes(random() % 64);
    for (auto& byte : bytes) byte = static_cast<std::byte>(random() % 2 ? random() % 8 : random());
    if (bytes.size() > 1) bytes[0] = std::byte{0}, bytes[1] = static_cast<std::byte>(random() % 48);
    decode(bytes);
  }
}
