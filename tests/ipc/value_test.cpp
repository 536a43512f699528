#include <cofork/ipc/codec.hpp>
#include <cofork/ipc/value.hpp>

#include "ipc/sync_harness.hpp"

using namespace sync_test;
using cofork::ipc::Lock;
using cofork::ipc::LockGuard;
using cofork::ipc::RawValue;
using cofork::ipc::Value;

namespace {

struct Point {
  double x = 1;
  int y = 2;
  bool operator==(const Point&) const = default;
};

int add_to(const Value<int>& value, int n) {
  for (int i = 0; i < n; ++i) value.with_lock([](int& v) { ++v; });
  return value.get();
}

template <class T>
T copy_by_message(const T& handle) {
  cofork::ipc::BufferWriter writer;
  cofork::ipc::encode(writer, handle);
  cofork::ipc::Reader reader(writer.message(), writer.descriptors());
  T copy = cofork::ipc::decode<T>(reader);
  reader.finish();
  return copy;
}

}  // namespace

TEST_CASE("a value is initialised, read and written") {
  CHECK(Value<int>().get() == 0);
  CHECK(Value<double>(2.5).get() == 2.5);
  CHECK(Value<Point>().get() == Point{});
  CHECK(RawValue<Point>().get() == Point{});
  CHECK(RawValue<Point>(Point{3, 4})->y == 4);
  const Value<long> value(7);
  value.set(8);
  CHECK(value.get() == 8);
  CHECK(value.with_lock([](long& n) { return n += 1; }) == 9);
}

TEST_CASE("processes add to a value under its lock") {
  const Value<int> value;
  CHECK(run_in_processes(4, [value](int) { add_to(value, 2000); }));
  CHECK(value.get() == 8000);
}

TEST_CASE("who holds the lock of a value goes on using it, others wait", "[threads]") {
  const Value<int> value(1);
  const Lock lock = value.get_lock();
  std::optional<LockGuard> guard = lock.blocking_acquire();
  value.set(value.get() + 1);
  value.with_lock([&](int& n) { n += value.get(); });
  CHECK(value.get() == 4);
  std::atomic<bool> done{false};
  std::thread other([&] {
    value.set(10);
    done = true;
  });
  CHECK_FALSE(support::eventually([&] { return done.load(); }, 10ms));
  value.set(5);
  guard.reset();
  other.join();
  CHECK(value.get() == 10);
}

TEST_CASE("the lock of a value travels alone and is the same") {
  const Value<int> value;
  const Lock lock = copy_by_message(value.get_lock());
  CHECK(lock.try_acquire());
  CHECK(value.get_lock().locked());
  lock.release();
  CHECK(run_in_processes(1, [lock = value.get_lock()](int) {
    support::require(lock.try_acquire(), "try_acquire");
    lock.release();
  }));
}

TEST_CASE("a value is free again when a process that held its lock was killed") {
  const Value<int> value(3);
  kill_when_counted([value](auto ready) {
    const LockGuard guard = value.get_lock().blocking_acquire();
    value.set(4);
    ready();
    for (;;) ::pause();
  });
  CHECK(value.get() == 4);
}

TEST_CASE("atomics in shared memory need no lock") {
  const RawValue<std::atomic<int>> raw(5);
  const Value<std::atomic<long>> value;
  CHECK(run_in_processes(3, [=](int) {
    for (int i = 0; i < 1000; ++i) {
      ++*raw;
      value.object().fetch_add(2);
    }
  }));
  CHECK(*raw == 3005);
  CHECK(value.object() == 6000);
}

TEST_CASE("a value is used in a coroutine that holds its lock") {
  const Value<int> value;
  const auto main = [&]() -> Task<> {
    const LockGuard guard = co_await value.get_lock().acquire();
    value.set(value.get() + 1);
    CHECK(value.get() == 1);
  };
  cofork::run(main);
}

TEST_CASE("a message with a value of another size is refused") {
  cofork::ipc::BufferWriter writer;
  cofork::ipc::encode(writer, Value<int>(1));
  cofork::ipc::Reader reader(writer.message(), writer.descriptors());
  CHECK_THROWS_AS(cofork::ipc::decode<Value<long>>(reader), cofork::DecodeError);
  CHECK(copy_by_message(RawValue<int>(3)).get() == 3);
}

TEST_CASE("a value travels to pool tasks") {
  const auto main = []() -> Task<> {
    const Value<int> value;
    cofork::ProcessPoolExecutor pool(2);
    auto first = pool.submit(add_to, value, 500);
    auto second = pool.submit(add_to, value, 500);
    co_await std::move(first);
    co_await std::move(second);
    CHECK(value.get() == 1000);
  };
  cofork::run(main);
}
