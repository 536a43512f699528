#include <cofork/ipc/codec.hpp>
#include <cofork/ipc/memory_file.hpp>
#include <cofork/ipc/shared_array.hpp>
#include <numeric>

#include "ipc/sync_harness.hpp"

using namespace sync_test;
using cofork::ipc::SharedArray;

namespace {

SharedArray<double> squares(int n) {
  SharedArray<double> result(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) result[static_cast<std::size_t>(i)] = double(i) * i;
  return result;
}
double sum(const SharedArray<double>& array) { return std::accumulate(array.begin(), array.end(), 0.0); }
void negate(SharedArray<double> array) {
  for (double& x : array) x = -x;
}

}  // namespace

TEST_CASE("a shared array is zero, and may be empty") {
  const SharedArray<int> empty(0);
  CHECK(empty.empty());
  CHECK(empty.begin() == empty.end());
  SharedArray<int> array(3);
  CHECK(array.span()[2] == 0);
  SharedArray<int> copy = array;
  copy[1] = 4;
  CHECK(array[1] == 4);
  CHECK_THROWS_AS(SharedArray<long>(SIZE_MAX / 2), std::length_error);
}

TEST_CASE("a shared array is an argument and a result of pool tasks, and the same memory") {
  const auto main = []() -> Task<> {
    cofork::ProcessPoolExecutor pool(1);
    SharedArray<double> array = co_await pool.submit(squares, 100000);
    CHECK(array.size() == 100000);
    CHECK(array[99] == 99.0 * 99.0);
    array[0] = 5;
    const double before = sum(array);
    const double there = co_await pool.submit(sum, array);
    CHECK(there == before);
    co_await pool.submit(negate, array);
    CHECK(sum(array) == -before);
    SharedArray<double> none = co_await pool.submit(squares, 0);
    CHECK(none.empty());
  };
  cofork::run(main);
}

TEST_CASE("a shared array is given to processes") {
  SharedArray<int> array(4);
  CHECK(run_in_processes(4, [array](int i) mutable { array[static_cast<std::size_t>(i)] = i + 1; }));
  CHECK(std::accumulate(array.begin(), array.end(), 0) == 10);
}

TEST_CASE("a message with a shared array that is not there is refused") {
  const auto decode = [](std::uint64_t size, cofork::ipc::Descriptor memory) {
    cofork::ipc::BufferWriter writer;
    writer.value(std::uint8_t{0});
    writer.size(0);
    writer.value(size);
    std::vector<cofork::ipc::Descriptor> descriptors;
    descriptors.push_back(std::move(memory));
    cofork::ipc::Reader reader(writer.message(), descriptors);
    return cofork::ipc::decode<SharedArray<int>>(reader).size();
  };
  const auto memory = [](bool sealed) {
    cofork::ipc::MemoryFile file = cofork::ipc::MemoryFile::create("test", 4096);
    if (sealed) file.seal_shrink();
    return file.release();
  };
  CHECK(decode(4096, memory(true)) == 1024);
  CHECK_THROWS_AS(decode(4097, memory(true)), cofork::DecodeError);
  CHECK_THROWS_AS(decode(4095, memory(true)), cofork::DecodeError);
  CHECK_THROWS_AS(decode(SIZE_MAX, memory(true)), cofork::DecodeError);
  CHECK_THROWS_AS(decode(4096, memory(false)), cofork::DecodeError);
  std::array<int, 2> pipe = {-1, -1};
  REQUIRE(::pipe(pipe.data()) == 0);
  ::close(pipe[1]);
  CHECK_THROWS_AS(decode(4096, cofork::ipc::Descriptor(pipe[0])), cofork::DecodeError);
}
