#include <cofork/ipc/array.hpp>
#include <cofork/ipc/codec.hpp>
#include <numeric>

#include "ipc/sync_harness.hpp"

using namespace sync_test;
using cofork::ipc::Array;
using cofork::ipc::LockGuard;
using cofork::ipc::RawArray;

TEST_CASE("an array between processes is zero, or a copy, and its bounds are checked by at") {
  const Array<int> zeros(std::size_t{5});
  CHECK(zeros.size() == 5);
  CHECK(std::accumulate(zeros.begin(), zeros.end(), 0) == 0);
  const std::vector<int> from = {1, 2, 3};
  const Array<int> copy{std::span<const int>(from)};
  CHECK(copy.at(2) == 3);
  CHECK_THROWS_AS(copy.at(3), std::out_of_range);
  copy[0] = 7;
  CHECK(from[0] == 1);
  CHECK(copy.span().front() == 7);
  CHECK(Array<int>(std::size_t{0}).empty());
  CHECK_THROWS_AS(Array<double>(SIZE_MAX / 4), std::length_error);
  CHECK_THROWS_AS(RawArray<double>(SIZE_MAX / 4), std::length_error);
}

TEST_CASE("elements of arrays are value-initialised") {
  struct Default {
    int number = 3;
  };
  CHECK(Array<Default>(100)[99].number == 3);
  CHECK(RawArray<Default>(100)[99].number == 3);
}

TEST_CASE("processes write their parts of an array, and all of it under the lock") {
  const Array<int> array(std::size_t{1000});
  CHECK(run_in_processes(4, [array](int i) {
    for (std::size_t k = 0; k < 250; ++k) array[static_cast<std::size_t>(i) * 250 + k] = i;
  }));
  CHECK(run_in_processes(4, [array](int) {
    for (int k = 0; k < 100; ++k)
      array.with_lock([](std::span<int> all) {
        for (int& n : all) ++n;
      });
  }));
  for (std::size_t k = 0; k < 1000; ++k)
    if (array[k] != static_cast<int>(k / 250) + 400) FAIL("element " << k << " is " << array[k]);
  {
    const LockGuard guard = array.get_lock().blocking_acquire();
    CHECK(array.with_lock([](std::span<int> all) { return all.size(); }) == 1000);
  }
  CHECK_FALSE(array.get_lock().locked());
}

TEST_CASE("arrays of atomics and of structs are shared") {
  const RawArray<std::atomic<int>> counts(8);
  CHECK(run_in_processes(2, [counts](int) {
    for (std::atomic<int>& count : counts) ++count;
  }));
  for (const std::atomic<int>& count : counts) CHECK(count == 2);
}

TEST_CASE("a message with an array that is longer than its memory is refused") {
  cofork::ipc::BufferWriter writer;
  cofork::ipc::encode(writer, Array<int>(std::size_t{3}));
  std::vector<std::byte> bytes(writer.message().begin(), writer.message().end());
  bytes.resize((bytes.size() + 63) / 64 * 64);
  for (const std::size_t at : {std::size_t{2}, std::size_t{8}}) {
    alignas(64) std::array<std::byte, 64> changed = {};
    std::copy_n(bytes.begin(), writer.size(), changed.begin());
    changed[at] = std::byte{0x7f};
    std::vector<cofork::ipc::Descriptor> descriptors;
    for (const auto& descriptor : writer.descriptors()) descriptors.emplace_back(::dup(descriptor.get()));
    cofork::ipc::Reader reader(std::span<const std::byte>(changed.data(), writer.size()), descriptors);
    CHECK_THROWS_AS(cofork::ipc::decode<Array<int>>(reader), cofork::DecodeError);
  }
}
