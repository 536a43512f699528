#include <sys/stat.h>
#include <cofork/runtime/directory.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/whole_file.hpp>

#include <filesystem>
#include <string>
#include <system_error>

#include "support/catch.hpp"

using namespace cofork;
namespace fs = std::filesystem;

TEST_CASE("directories are made, listed and removed, and files renamed") {
  run([]() -> Task<> {
    const fs::path root = co_await make_temporary_directory();
    struct stat status;
    REQUIRE(::stat(root.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0700);
    CHECK(root.parent_path() == fs::temp_directory_path());
    co_await make_directory(root / "b");
    co_await write_file(root / "a", "text");
    fs::create_symlink("a", root / "c");
    std::vector<DirectoryEntry> entries = co_await read_directory(root);
    const std::vector<DirectoryEntry> expected{
        {"a", fs::file_type::regular}, {"b", fs::file_type::directory}, {"c", fs::file_type::symlink}};
    CHECK((entries == expected));
    co_await write_file(root / "d", "other");
    co_await rename_file(root / "a", root / "d");
    const std::string text = co_await read_file(root / "d");
    CHECK(text == "text");
    CHECK(!fs::exists(root / "a"));
    co_await remove_file(root / "c");
    CHECK(!fs::is_symlink(root / "c"));
    co_await remove_directory(root / "b");
    CHECK(!fs::exists(root / "b"));
    const std::uintmax_t removed = co_await remove_tree(root);
    CHECK(removed == 2);
    const std::uintmax_t none = co_await remove_tree(root);
    CHECK(none == 0);
  });
}

TEST_CASE("what cannot be done to a directory says what and why") {
  const auto error_of = [](auto task) -> Task<std::string> {
    try {
      (void)co_await std::move(task);
    } catch (const std::system_error& error) {
      co_return error.what();
    }
    co_return "nothing";
  };
  run([&]() -> Task<> {
    const std::string listing = co_await error_of(read_directory("/no/such"));
    CHECK(listing == "open directory /no/such: No such file or directory");
    const std::string file = co_await error_of(read_directory("/etc/passwd"));
    CHECK(file == "open directory /etc/passwd: Not a directory");
    const std::string making = co_await error_of(make_directory("/"));
    CHECK(making == "make directory /: File exists");
    const std::string renaming = co_await error_of(rename_file("/no/such", "/no/such2"));
    CHECK(renaming == "rename /no/such to /no/such2: No such file or directory");
    const std::string removing = co_await error_of(remove_file("/no/such"));
    CHECK(removing == "remove /no/such: No such file or directory");
    const std::string full = co_await error_of(remove_directory("/proc"));
    CHECK(full.starts_with("remove directory /proc: "));
  });
}
