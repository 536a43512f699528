#include <cofork/executors/register_exception.hpp>
#include <cofork/executors/remote_info.hpp>
#include <thread>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::ProcessPoolExecutor;
using cofork::Task;

namespace {

/// A parse error as a user would write it.
class ParseError : public std::runtime_error {
 public:
  ParseError() : std::runtime_error("") {}
  ParseError(int line, std::string text) : std::runtime_error(text), line_(line), text_(std::move(text)) {}
  const char* what() const noexcept override { return text_.c_str(); }
  int line() const { return line_; }

  template <class Archive>
  void serialize(Archive& archive) {
    archive(line_, text_);
  }

 private:
  int line_ = 0;
  std::string text_;
};

struct DerivedError : ParseError {
  using ParseError::ParseError;
};

struct NotStandard {
  int code = 0;
  std::vector<std::string> notes;
};

struct Final final : std::exception {
  int value = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(value);
  }
};

struct OnlyInTheWorker : std::exception {
  const char* what() const noexcept override { return "of the worker"; }
  template <class Archive>
  void serialize(Archive&) {}
};
struct OnlyHere : OnlyInTheWorker {};

struct CannotBeEncoded : std::exception {
  const char* what() const noexcept override { return "stays at home"; }
};
struct CannotBeDecoded : std::exception {};

template <class F>
Task<std::exception_ptr> thrown_by(ProcessPoolExecutor& pool, F function) {
  auto future = pool.submit(function);
  const bool done = co_await until([&] { return future.done(); });
  REQUIRE(done);
  co_return future.exception();
}

template <class E, class Use>
void caught(const std::exception_ptr& error, Use use) {
  REQUIRE(error);
  bool is_it = false;
  try {
    std::rethrow_exception(error);
  } catch (const E& exception) {
    is_it = true;
    use(exception);
  } catch (...) {
  }
  CHECK(is_it);
}

}  // namespace

template <>
struct cofork::Codec<CannotBeEncoded> {
  static void encode(ipc::Writer& writer, const CannotBeEncoded&) {
    writer.value(1);
    throw std::logic_error("no");
  }
  static CannotBeEncoded decode(ipc::Reader& reader) {
    reader.value<int>();
    return {};
  }
};
template <>
struct cofork::Codec<CannotBeDecoded> {
  static void encode(ipc::Writer& writer, const CannotBeDecoded&) { writer.value(1); }
  static CannotBeDecoded decode(ipc::Reader&) { throw std::range_error("cannot be decoded"); }
};

TEST_CASE("a registered exception arrives as itself, with all that its codec carries") {
  cofork::register_exception<ParseError>();
  cofork::register_exception<ParseError>();
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto error = co_await thrown_by(pool, [] { throw ParseError(7, "a brace is missing"); });
    caught<ParseError>(error, [](const ParseError& parse) {
      CHECK(typeid(parse) == typeid(ParseError));
      CHECK(parse.line() == 7);
      CHECK(parse.what() == std::string("a brace is missing"));
    });
    // It is a class of its own, that nobody knows.
    const auto derived = co_await thrown_by(pool, [] { throw DerivedError(8, "derived"); });
    caught<cofork::RemoteError>(derived, [](const cofork::RemoteError& remote) {
      CHECK(remote.type_name().find("DerivedError") != std::string::npos);
      CHECK(remote.what() == std::string("derived"));
    });
  });
}

TEST_CASE("a registered class need be no std::exception, and may be final") {
  cofork::register_exception<NotStandard>();
  cofork::register_exception<Final>();
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto other = co_await thrown_by(pool, [] { throw NotStandard{3, {"one", "two"}}; });
    caught<NotStandard>(other, [](const NotStandard& exception) {
      CHECK(exception.code == 3);
      CHECK(exception.notes == std::vector<std::string>{"one", "two"});
    });
    const auto nested = co_await thrown_by(pool, [] {
      try {
        throw 1;
      } catch (...) {
        Final outer;
        outer.value = 5;
        std::throw_with_nested(outer);
      }
    });
    caught<Final>(nested, [](const Final& exception) { CHECK(exception.value == 5); });
  });
}

TEST_CASE("registered exceptions stay themselves nested and around others") {
  cofork::register_exception<ParseError>();
  cofork::register_exception<NotStandard>();
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto error = co_await thrown_by(pool, [] {
      try {
        try {
          throw ParseError(1, "inner");
        } catch (...) {
          std::throw_with_nested(NotStandard{2, {}});
        }
      } catch (...) {
        std::throw_with_nested(ParseError(3, "outer"));
      }
    });
    int inner = 0, middle = 0, outer = 0;
    try {
      std::rethrow_exception(error);
    } catch (const ParseError& first) {
      outer = first.line();
      try {
        std::rethrow_if_nested(first);
      } catch (const NotStandard& second) {
        middle = second.code;
        try {
          dynamic_cast<const std::nested_exception&>(
              *[](const std::exception_ptr& nested) -> const std::nested_exception* {
                try {
                  std::rethrow_exception(nested);
                } catch (const std::nested_exception& found) {
                  return &found;
                }
              }(std::current_exception()))
              .rethrow_nested();
        } catch (const ParseError& third) {
          inner = third.line();
        }
      }
    }
    CHECK(outer == 3);
    CHECK(middle == 2);
    CHECK(inner == 1);
  });
}

TEST_CASE("an exception that went through a worker's own pool is still itself") {
  cofork::register_exception<ParseError>();
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto error = co_await thrown_by(
        pool, +[]() -> Task<int> {
          ProcessPoolExecutor inner(1);
          auto future = inner.submit(+[] {
            try {
              throw std::out_of_range("cause");
            } catch (...) {
              std::throw_with_nested(ParseError(static_cast<int>(::getpid()), "far away"));
            }
          });
          co_await future;
          co_return 0;
        });
    pid_t thrower = 0;
    bool has_cause = false;
    caught<ParseError>(error, [&](const ParseError& parse) {
      thrower = parse.line();
      try {
        std::rethrow_if_nested(parse);
      } catch (const std::out_of_range&) {
        has_cause = true;
      }
    });
    CHECK(has_cause);
    CHECK(thrower != pool.worker_pids().at(0));
    CHECK(cofork::remote_info(error).pid == thrower);
  });
}

TEST_CASE("what only one side has registered arrives as RemoteError") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(cofork::PoolOptions{.max_workers = 1},
                             [] { cofork::register_exception<OnlyInTheWorker>(); });
    const auto of_worker = co_await thrown_by(pool, [] { throw OnlyInTheWorker(); });
    caught<cofork::RemoteError>(of_worker, [](const cofork::RemoteError& error) {
      CHECK(error.type_name().find("OnlyInTheWorker") != std::string::npos);
      CHECK(error.what() == std::string("of the worker"));
    });
    cofork::register_exception<OnlyHere>();
    const auto unknown = co_await thrown_by(pool, [] { throw OnlyHere(); });
    caught<cofork::RemoteError>(unknown, [](const cofork::RemoteError& error) {
      CHECK(error.type_name().find("OnlyHere") != std::string::npos);
    });
    // The next pool forks its workers from this process as it is now.
    ProcessPoolExecutor next(1);
    const auto known = co_await thrown_by(next, [] { throw OnlyHere(); });
    caught<OnlyHere>(known, [](const OnlyHere&) {});
  });
}

TEST_CASE("a codec that throws costs the exception its type, not the worker its life") {
  cofork::register_exception<CannotBeEncoded>();
  cofork::register_exception<CannotBeDecoded>();
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto encoding = co_await thrown_by(pool, [] { throw CannotBeEncoded(); });
    caught<cofork::RemoteError>(
        encoding, [](const cofork::RemoteError& error) { CHECK(error.what() == std::string("stays at home")); });
    const auto decoding = co_await thrown_by(pool, [] { throw CannotBeDecoded(); });
    caught<std::range_error>(decoding, [](const std::range_error&) {});
    CHECK(pool.stats().workers_started == 1);
  });
}

TEST_CASE("exceptions can be registered on several threads at once", "[threads]") {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      cofork::register_exception<ParseError>();
      cofork::register_exception<NotStandard>();
      cofork::register_exception<Final>();
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(cofork::detail::find_registered_exception(typeid(Final)) != nullptr);
  CHECK(cofork::detail::find_registered_exception(typeid(DerivedError)) == nullptr);
}
