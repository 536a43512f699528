#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cofork/runtime/file.hpp>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <cofork/runtime/whole_file.hpp>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"
#include "support/sanitizers.hpp"

using namespace cofork;
using namespace std::chrono_literals;

namespace {

std::filesystem::path scratch(const char* name) { return std::filesystem::temp_directory_path() / name; }

std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void put(const std::filesystem::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

std::span<std::byte> bytes(std::string& text) { return std::as_writable_bytes(std::span(text)); }

/// Removes the file at the end of a test.
struct Scratch {
  explicit Scratch(const char* name) : path(scratch(name)) { std::filesystem::remove(path); }
  ~Scratch() { std::filesystem::remove(path); }
  const std::filesystem::path path;
};

/// "errno: text" of what the awaitable throws.
template <class A>
Task<std::string> error_of(A awaitable) {
  try {
    (void)co_await std::move(awaitable);
  } catch (const std::system_error& error) {
    co_return std::to_string(error.code().value()) + ": " + error.what();
  }
  co_return "nothing";
}

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 2654435761u) >> 13);
  return text;
}

}  // namespace

TEST_CASE("a file is written, and read again by others and by itself") {
  const Scratch file("written");
  run([&]() -> Task<> {
    File out = co_await File::open(file.path, "w");
    co_await out.write("hello ");
    co_await out.write("world");
    out.close();
    CHECK(contents(file.path) == "hello world");
    File in = co_await File::open(file.path);
    std::string text(5, ' ');
    const std::size_t first = co_await in.read(bytes(text));
    CHECK(first == 5);
    CHECK(text == "hello");
    std::string rest(100, ' ');
    const std::size_t second = co_await in.read(bytes(rest));
    CHECK(rest.substr(0, second) == " world");
    const std::size_t end = co_await in.read(bytes(rest));
    CHECK(end == 0);
  });
}

TEST_CASE("the modes of open do what those of Python do") {
  const Scratch file("modes");
  run([&]() -> Task<> {
    {
      File made = co_await File::open(file.path, "xb");
      co_await made.write("one");
    }
    const std::string exists = co_await error_of(File::open(file.path, "x"));
    CHECK(exists == "17: open " + file.path.string() + ": File exists");
    {
      File appending = co_await File::open(file.path, "a");
      co_await appending.write(" two");
    }
    CHECK(contents(file.path) == "one two");
    {
      File both = co_await File::open(file.path, "r+");
      co_await both.write("ONE");
      std::string text(10, ' ');
      const std::size_t size = co_await both.read(bytes(text));
      CHECK(text.substr(0, size) == " two");
    }
    CHECK(contents(file.path) == "ONE two");
    {
      File emptied = co_await File::open(file.path, "wb+");
      CHECK(contents(file.path).empty());
      co_await emptied.write("three");
      CHECK(emptied.seek(0) == 0);
      std::string text(10, ' ');
      const std::size_t size = co_await emptied.read(bytes(text));
      CHECK(text.substr(0, size) == "three");
    }
    {
      File appending = co_await File::open(file.path, "a+t");
      co_await appending.write("!");
      CHECK(appending.tell() == 6);
      appending.seek(1);
      std::string text(2, ' ');
      co_await appending.read(bytes(text));
      CHECK(text == "hr");
    }
    File reading = co_await File::open(file.path, "r");
    const std::string unwritable = co_await error_of(reading.write("x"));
    CHECK(unwritable == "9: write " + file.path.string() + ": Bad file descriptor");
  });
}

TEST_CASE("a mode that Python does not know is std::invalid_argument at once") {
  for (const char* mode : {"", "+", "b", "rw", "ra", "wx", "r++", "rbt", "rbb", "rU", "e", "r ", "R"}) {
    CAPTURE(mode);
    CHECK_THROWS_AS(File::open("/dev/null", mode), std::invalid_argument);
  }
}

TEST_CASE("errors name the operation and the file") {
  run([]() -> Task<> {
    const std::string missing = co_await error_of(File::open("/no/such/file"));
    CHECK(missing == "2: open /no/such/file: No such file or directory");
    const std::string directory = co_await error_of(File::open("/tmp"));
    CHECK(directory == "21: open /tmp: Is a directory");
    const std::string missing_whole = co_await error_of(read_file("/no/such/file"));
    CHECK(missing_whole == missing);
    const std::string not_there = co_await error_of(stat("/no/such/file"));
    CHECK(not_there == "2: stat /no/such/file: No such file or directory");
    File full = co_await File::open("/dev/full", "w");
    const std::string no_space = co_await error_of(full.write("x"));
    CHECK(no_space == "28: write /dev/full: No space left on device");
    const std::string no_space_whole = co_await error_of(write_file("/dev/full", "x"));
    CHECK(no_space_whole == no_space);
  });
}

TEST_CASE("without a free descriptor opening is EMFILE") {
  if (support::needs_free_descriptors()) return;
  rlimit before;
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  run([&]() -> Task<> {
    // What the thread pool needs is open then.
    co_await stat("/");
    std::vector<int> opened;
    rlimit few = before;
    few.rlim_cur = 64;
    ::setrlimit(RLIMIT_NOFILE, &few);
    for (int descriptor = ::dup(0); descriptor >= 0; descriptor = ::dup(0)) opened.push_back(descriptor);
    const std::string error = co_await error_of(File::open("/dev/null"));
    for (const int descriptor : opened) ::close(descriptor);
    ::setrlimit(RLIMIT_NOFILE, &before);
    CHECK(error == "24: open /dev/null: Too many open files");
  });
}

TEST_CASE("large files go through in both directions, whole and in pieces", "[threads]") {
  const Scratch file("large");
  const std::string text = pattern(40'000'003);
  run([&]() -> Task<> {
    co_await write_file(file.path, text);
    CHECK(std::filesystem::file_size(file.path) == text.size());
    const std::string whole = co_await read_file(file.path);
    CHECK((whole == text));
    File in = co_await File::open(file.path);
    std::string once(text.size() + 1, ' ');
    const std::size_t size = co_await in.read(bytes(once));
    CHECK(size == text.size());
    once.pop_back();
    CHECK((once == text));
    std::string middle(1'000'000, ' ');
    const std::size_t count = co_await in.read_at(bytes(middle), 30'000'000);
    CHECK(count == middle.size());
    CHECK((middle == text.substr(30'000'000, middle.size())));
    File out = co_await File::open(file.path, "r+");
    co_await out.write_at(std::string(300'000, 'x'), 10);
    co_await out.truncate(300'020);
    const FileInfo info = co_await out.stat();
    CHECK(info.size == 300'020);
    co_await out.sync();
    CHECK((contents(file.path) == text.substr(0, 10) + std::string(300'000, 'x') + text.substr(300'010, 10)));
  });
}

TEST_CASE("files whose size nobody knows beforehand are read to their end") {
  run([]() -> Task<> {
    const std::string status = co_await read_file("/proc/self/status");
    CHECK(status.find("Pid:\t" + std::to_string(::getpid())) != std::string::npos);
    const std::string nothing = co_await read_file("/dev/null");
    CHECK(nothing.empty());
  });
}

TEST_CASE("stat tells size, kind and time") {
  const Scratch file("known");
  put(file.path, "12345");
  run([&]() -> Task<> {
    const FileInfo info = co_await stat(file.path);
    CHECK(info.size == 5);
    CHECK(info.is_regular_file());
    CHECK(std::chrono::abs(std::chrono::system_clock::now() - info.modified) < 1min);
    struct stat expected;
    REQUIRE(::stat(file.path.c_str(), &expected) == 0);
    CHECK(info.mode == expected.st_mode);
    const FileInfo directory = co_await stat("/");
    CHECK(directory.is_directory());
  });
}

TEST_CASE("a temporary file has no name and is gone at its end") {
  run([]() -> Task<> {
    File file = co_await File::temporary();
    co_await file.write("secret");
    file.seek(0);
    std::string text(10, ' ');
    const std::size_t size = co_await file.read(bytes(text));
    CHECK(text.substr(0, size) == "secret");
    CHECK(std::filesystem::is_empty(std::filesystem::temp_directory_path()));
  });
}

TEST_CASE("two operations at the position of one file are std::logic_error, positional ones are not") {
  const Scratch file("shared");
  put(file.path, pattern(1'000'000));
  run([&]() -> Task<> {
    File in = co_await File::open(file.path);
    std::string one(1'000'000, ' '), two(10, ' '), three(10, ' ');
    Future<std::size_t> reading = spawn(in.read(bytes(one)));
    co_await support::turns(1);
    const bool refused = co_await support::throws<std::logic_error>(in.read(bytes(two)));
    CHECK(refused);
    CHECK_THROWS_AS(in.tell(), std::logic_error);
    auto [first, second] = co_await gather(in.read_at(bytes(two), 0), in.read_at(bytes(three), 5));
    CHECK(first + second == 20);
    const std::size_t size = co_await reading;
    CHECK(size == one.size());
    CHECK(in.tell() == one.size());
    const std::size_t again = co_await in.read(bytes(two));
    CHECK(again == 0);
  });
}

TEST_CASE("a closed file is std::logic_error, and closing is idempotent") {
  run([]() -> Task<> {
    File file = co_await File::open("/dev/null", "r+");
    CHECK(file.native_handle() >= 0);
    Task<> prepared = file.write("before");
    file.close();
    file.close();
    std::string text(1, ' ');
    const bool reading = co_await support::throws<std::logic_error>(file.read(bytes(text)));
    const bool writing = co_await support::throws<std::logic_error>(file.write("x"));
    const bool asking = co_await support::throws<std::logic_error>(file.stat());
    const bool earlier = co_await support::throws<std::logic_error>(std::move(prepared));
    CHECK((reading && writing && asking && earlier));
    CHECK_THROWS_AS(file.native_handle(), std::logic_error);
    CHECK_THROWS_AS(file.seek(0), std::logic_error);
    File other = std::move(file);
    CHECK_THROWS_AS(other.seek(0), std::logic_error);
  });
}

TEST_CASE("closing a file while it is read lets the read end") {
  const Scratch file("closed early");
  put(file.path, pattern(5'000'000));
  run([&]() -> Task<> {
    std::string text(5'000'000, ' ');
    File in = co_await File::open(file.path);
    Future<std::size_t> reading = spawn(in.read(bytes(text)));
    co_await support::turns(1);
    in.close();
    const std::size_t size = co_await reading;
    CHECK(size == text.size());
  });
}
