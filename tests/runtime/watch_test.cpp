#include <cofork/runtime/directory.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <cofork/runtime/watch.hpp>

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <system_error>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
namespace fs = std::filesystem;
using Kind = FileChange::Kind;

namespace {
struct Directory {
  Directory() { fs::create_directory(path); }
  ~Directory() { fs::remove_all(path); }
  const fs::path path = fs::temp_directory_path() / "watched";
};

Task<std::vector<FileChange>> next_changes(Stream<FileChange>& changes, std::size_t count) {
  std::vector<FileChange> got;
  while (got.size() < count) {
    auto change = co_await changes.next();
    if (!change) break;
    got.push_back(*change);
  }
  co_return got;
}
}  // namespace

TEST_CASE("a watched directory tells of what happens in it, from the call on") {
  const Directory directory;
  run([&]() -> Task<> {
    Stream<FileChange> changes = watch(directory.path);
    std::ofstream(directory.path / "a") << "text";
    const std::vector<FileChange> made = co_await next_changes(changes, 3);
    const std::vector<FileChange> expected{{Kind::created, "a"}, {Kind::modified, "a"}, {Kind::written, "a"}};
    CHECK((made == expected));
    fs::rename(directory.path / "a", directory.path / "b");
    fs::remove(directory.path / "b");
    const std::vector<FileChange> gone = co_await next_changes(changes, 3);
    const std::vector<FileChange> moved{{Kind::moved_away, "a"}, {Kind::moved_here, "b"}, {Kind::removed, "b"}};
    CHECK((gone == moved));
  });
}

TEST_CASE("a watch wakes who waits for it, and ends when the file is gone") {
  const Directory directory;
  const fs::path file = directory.path / "a";
  std::ofstream(file) << "text";
  run([&]() -> Task<> {
    Stream<FileChange> changes = watch(file);
    const auto wait = [&]() -> Task<FileChange> {
      auto change = co_await changes.next();
      co_return *change;
    };
    Future<FileChange> waiting = spawn(wait());
    co_await sleep(5ms);
    CHECK(!waiting.done());
    std::ofstream(file, std::ios::app) << "more";
    const FileChange change = co_await waiting;
    CHECK((change == FileChange{Kind::modified, ""}));
    fs::remove(file);
    std::vector<FileChange> rest = co_await std::move(changes);
    REQUIRE(!rest.empty());
    CHECK((rest.back() == FileChange{Kind::removed, ""}));
  });
}

TEST_CASE("a change that nobody waits for costs nothing and is not lost by a cancelled wait") {
  const Directory directory;
  run([&]() -> Task<> {
    Stream<FileChange> changes = watch(directory.path);
    const bool none = co_await support::throws<TimeoutError>(wait_for(changes.next(), 5ms));
    CHECK(none);
    fs::create_directory(directory.path / "a");
    co_await sleep(5ms);
    const std::optional<FileChange> change = co_await changes.next();
    CHECK((change == FileChange{Kind::created, "a"}));
  });
}

TEST_CASE("a watch that is closed ends for who waits") {
  run([]() -> Task<> {
    Stream<FileChange> changes = watch("/tmp");
    const auto wait = [&]() -> Task<bool> {
      auto change = co_await changes.next();
      co_return change.has_value();
    };
    Future<bool> waiting = spawn(wait());
    co_await support::turns(2);
    changes.close();
    while (!waiting.done()) co_await support::turns(1);
  });
}

TEST_CASE("a watch may outlive its loop") {
  const Directory directory;
  std::unique_ptr<Stream<FileChange>> changes;
  run([&]() -> Task<> {
    changes = std::make_unique<Stream<FileChange>>(watch(directory.path));
    const bool none = co_await support::throws<TimeoutError>(wait_for(changes->next(), 2ms));
    CHECK(none);
  });
  changes.reset();
}

TEST_CASE("what cannot be watched is an error at once") {
  run([]() -> Task<> {
    try {
      (void)watch("/no/such");
      FAIL("watched");
    } catch (const std::system_error& error) {
      CHECK(std::string(error.what()) == "watch /no/such: No such file or directory");
    }
    co_return;
  });
  CHECK_THROWS_AS(watch("/"), std::logic_error);
}
