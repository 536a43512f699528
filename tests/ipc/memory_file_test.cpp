#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cofork/ipc/memory_file.hpp>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "support/catch.hpp"

using namespace cofork::ipc;

namespace {

bool is_mapped(const void* address) {
  unsigned char resident = 0;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const auto start = reinterpret_cast<std::uintptr_t>(address) / page * page;
  return mincore(reinterpret_cast<void*>(start), 1, &resident) == 0;
}

int status_of_child(auto body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status = -1;
  waitpid(pid, &status, 0);
  return status;
}

blkcnt_t blocks_of(const MemoryFile& file) {
  struct stat status = {};
  REQUIRE(fstat(file.descriptor(), &status) == 0);
  return status.st_blocks;
}

}  // namespace

TEST_CASE("a memory file has the size it was made with and is zero") {
  const MemoryFile file = MemoryFile::create("test", 10'000);
  CHECK(file.size() == 10'000);
  CHECK((fcntl(file.descriptor(), F_GETFD) & FD_CLOEXEC) != 0);
  const Mapping mapping(file.descriptor(), 10'000);
  CHECK(std::ranges::all_of(mapping.bytes(), [](std::byte b) { return b == std::byte{}; }));
}

TEST_CASE("two mappings of a file are the same memory") {
  const MemoryFile file = MemoryFile::create("test", 4096);
  const Mapping writer(file.descriptor(), 4096), reader(file.descriptor(), 4096, Mapping::Access::read);
  writer.bytes()[17] = std::byte{42};
  CHECK(reader.bytes()[17] == std::byte{42});
}

TEST_CASE("a memory file grows, and a mapping after it") {
  MemoryFile file = MemoryFile::create("test", 4096);
  Mapping mapping(file.descriptor(), 4096);
  mapping.bytes()[0] = std::byte{1};
  file.grow(1 << 20);
  mapping.resize(1 << 20);
  CHECK(file.size() == 1 << 20);
  CHECK(mapping.size() == 1 << 20);
  CHECK(mapping.bytes()[0] == std::byte{1});
  mapping.bytes()[(1 << 20) - 1] = std::byte{2};
  CHECK_THROWS_AS(file.grow(4096), std::invalid_argument);
}

TEST_CASE("a sealed file keeps its size") {
  MemoryFile file = MemoryFile::create("test", 8192);
  file.seal_shrink();
  CHECK(ftruncate(file.descriptor(), 4096) == -1);
  file.grow(16384);
  file.seal_size();
  CHECK_THROWS_WITH(file.grow(32768), Catch::Matchers::Contains("ftruncate of a memory file"));
  CHECK(file.size() == 16384);
}

TEST_CASE("a read-only descriptor cannot be written or mapped writable") {
  const MemoryFile file = MemoryFile::create("test", 4096);
  const Mapping writer(file.descriptor(), 4096);
  writer.bytes()[0] = std::byte{7};
  const MemoryFile reader(file.read_only_descriptor());
  CHECK(reader.size() == 4096);
  CHECK(Mapping(reader.descriptor(), 4096, Mapping::Access::read).bytes()[0] == std::byte{7});
  CHECK_THROWS_AS(Mapping(reader.descriptor(), 4096), std::system_error);
  CHECK(write(reader.descriptor(), "x", 1) == -1);
}

TEST_CASE("a forked child has only the mappings that it shall keep") {
  const MemoryFile file = MemoryFile::create("test", 4096);
  const Mapping kept(file.descriptor(), 4096, Mapping::Access::read_write, Mapping::OnFork::keep);
  const Mapping dropped(file.descriptor(), 4096);
  CHECK(is_mapped(dropped.data()));
  CHECK(status_of_child([&] { return is_mapped(kept.data()) && !is_mapped(dropped.data()) ? 0 : 1; }) == 0);
}

TEST_CASE("a dropped mapping stays dropped when it is resized") {
  MemoryFile file = MemoryFile::create("test", 4096);
  Mapping mapping(file.descriptor(), 4096);
  file.grow(1 << 20);
  mapping.resize(1 << 20);
  CHECK(status_of_child([&] { return is_mapped(mapping.data()) ? 1 : 0; }) == 0);
}

TEST_CASE("discarded pages are zero and take no memory") {
  const MemoryFile file = MemoryFile::create("test", 1 << 20);
  Mapping mapping(file.descriptor(), 1 << 20);
  std::ranges::fill(mapping.bytes(), std::byte{1});
  const blkcnt_t full = blocks_of(file);
  mapping.discard(100, (1 << 20) - 200);
  CHECK(blocks_of(file) < full / 50);
  CHECK(mapping.bytes()[0] == std::byte{1});
  CHECK(mapping.bytes()[500'000] == std::byte{0});
  CHECK(mapping.bytes()[(1 << 20) - 1] == std::byte{1});
  CHECK_THROWS_AS(mapping.discard(0, (1 << 20) + 1), std::out_of_range);
  mapping.discard(10, 20);  // no whole page
  CHECK(mapping.bytes()[15] == std::byte{1});
}

TEST_CASE("a mapping can be moved and is unmapped once") {
  const MemoryFile file = MemoryFile::create("test", 4096);
  Mapping first(file.descriptor(), 4096);
  std::byte* const data = first.data();
  Mapping second = std::move(first);
  CHECK(second.data() == data);
  CHECK(second.size() == 4096);
  second = Mapping();
  CHECK_FALSE(is_mapped(data));
  CHECK(second.bytes().empty());
}

TEST_CASE("errors name what failed") {
  CHECK_THROWS_WITH(MemoryFile(Descriptor(-1)).size(), Catch::Matchers::Contains("fstat of a memory file"));
  CHECK_THROWS_WITH(Mapping(-1, 4096), Catch::Matchers::Contains("mmap of a memory file"));
  CHECK_THROWS_AS(MemoryFile::create("test", SIZE_MAX), std::system_error);
}
