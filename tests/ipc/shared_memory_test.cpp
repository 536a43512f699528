#include <cofork/ipc/codec.hpp>
#include <cofork/ipc/shared_memory.hpp>
#include <cstring>
#include <string>
#include <system_error>

#include "ipc/sync_harness.hpp"

using namespace sync_test;
using cofork::ipc::SharedMemory;

namespace {

std::string unique_name(const char* purpose) { return "cofork-test-" + std::to_string(::getpid()) + purpose; }

int error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const std::system_error& error) {
    return error.code().value();
  }
  return 0;
}

}  // namespace

TEST_CASE("anonymous shared memory is zero, has its size and is shared with children") {
  SharedMemory memory = SharedMemory::create(1000);
  CHECK(memory.size() == 1000);
  CHECK(memory.name().empty());
  CHECK(memory.span()[999] == std::byte{0});
  CHECK(run_in_processes(1, [memory](int) mutable { memory.span()[999] = std::byte{7}; }));
  CHECK(memory.span()[999] == std::byte{7});
  CHECK_THROWS_AS(memory.unlink(), std::logic_error);
  CHECK_THROWS_AS(SharedMemory::create(0), std::invalid_argument);
}

TEST_CASE("named shared memory is found by its name until it is unlinked") {
  const std::string name = unique_name("a");
  SharedMemory memory = SharedMemory::create(name, 100);
  CHECK(memory.name() == name);
  CHECK(error_of([&] { SharedMemory::create(name, 100); }) == EEXIST);
  CHECK_THROWS_AS(SharedMemory::create(name, 0), std::invalid_argument);
  SharedMemory same = SharedMemory::attach(name);
  CHECK(same.size() == 100);
  same.span()[5] = std::byte{9};
  CHECK(memory.span()[5] == std::byte{9});
  memory.unlink();
  CHECK(error_of([&] { memory.unlink(); }) == ENOENT);
  CHECK(error_of([&] { SharedMemory::attach(name); }) == ENOENT);
  CHECK(memory.span()[5] == std::byte{9});
}

TEST_CASE("names of shared memory are those of files") {
  for (const char* name : {"", "/", "a/b", ".", ".."})
    CHECK_THROWS_AS(SharedMemory::create(name, 10), std::invalid_argument);
  CHECK_THROWS_AS(SharedMemory::attach(std::string(300, 'x')), std::invalid_argument);
}

TEST_CASE("the name of shared memory goes with its creator's last handle, not with a child's") {
  const std::string name = unique_name("b");
  {
    SharedMemory memory = SharedMemory::create(name, 10);
    const SharedMemory copy = memory;
    CHECK(run_in_processes(1, [memory](int) mutable { memory.close(); }));
    { const SharedMemory attached = SharedMemory::attach(name); }
    memory.close();
    CHECK(SharedMemory::attach(name).size() == 10);
  }
  CHECK(error_of([&] { SharedMemory::attach(name); }) == ENOENT);
}

TEST_CASE("the name of shared memory stays if it is another's by the time of its creator's last handle") {
  const std::string name = unique_name("d");
  SharedMemory first = SharedMemory::create(name, 100);
  SharedMemory::attach(name).unlink();
  const SharedMemory second = SharedMemory::create(name, 200);
  first.close();
  CHECK(SharedMemory::attach(name).size() == 200);
}

TEST_CASE("closed shared memory cannot be used") {
  SharedMemory memory = SharedMemory::create(10);
  SharedMemory copy = memory;
  memory.close();
  memory.close();
  CHECK_THROWS_AS(memory.size(), std::logic_error);
  CHECK_THROWS_AS(memory.span(), std::logic_error);
  CHECK(copy.size() == 10);
}

TEST_CASE("shared memory travels in messages with its name") {
  const std::string name = unique_name("c");
  SharedMemory memory = SharedMemory::create(name, 10);
  cofork::ipc::BufferWriter writer;
  cofork::ipc::encode(writer, memory);
  memory.unlink();
  cofork::ipc::Reader reader(writer.message(), writer.descriptors());
  SharedMemory copy = cofork::ipc::decode<SharedMemory>(reader);
  CHECK(copy.name() == name);
  copy.span()[3] = std::byte{1};
  CHECK(memory.span()[3] == std::byte{1});
}
