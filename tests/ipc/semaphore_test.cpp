#include <cofork/ipc/codec.hpp>
#include <cofork/ipc/semaphore.hpp>

#include "ipc/sync_harness.hpp"

using namespace sync_test;
using cofork::ipc::BoundedSemaphore;
using cofork::ipc::LockGuard;
using cofork::ipc::Semaphore;

TEST_CASE("a semaphore counts") {
  const Semaphore semaphore(2);
  CHECK(semaphore.value() == 2);
  CHECK(semaphore.try_acquire());
  {
    const LockGuard guard = semaphore.blocking_acquire();
    CHECK(semaphore.value() == 0);
    CHECK_FALSE(semaphore.try_acquire());
    CHECK_FALSE(semaphore.blocking_acquire(1ms));
  }
  CHECK(semaphore.value() == 1);
  semaphore.release();
  semaphore.release(3);
  CHECK(semaphore.value() == 5);
  CHECK(Semaphore(0).value() == 0);
  CHECK_THROWS_AS(semaphore.release(~0u), std::logic_error);
  CHECK(semaphore.value() == 5);
}

TEST_CASE("a bounded semaphore has never more than in the beginning, as a plain copy either") {
  const BoundedSemaphore semaphore(2);
  CHECK_THROWS_AS(semaphore.release(), std::logic_error);
  CHECK(semaphore.try_acquire());
  CHECK_THROWS_AS(semaphore.release(2), std::logic_error);
  const Semaphore plain = semaphore;
  plain.release();
  CHECK_THROWS_AS(plain.release(), std::logic_error);
  cofork::ipc::BufferWriter writer;
  cofork::ipc::encode(writer, plain);
  cofork::ipc::Reader reader(writer.message(), writer.descriptors());
  CHECK_THROWS_AS(cofork::ipc::decode<BoundedSemaphore>(reader).release(), std::logic_error);
}

TEST_CASE("a message with a plain semaphore is not a bounded one") {
  cofork::ipc::BufferWriter writer;
  cofork::ipc::encode(writer, Semaphore(1));
  cofork::ipc::Reader reader(writer.message(), writer.descriptors());
  CHECK_THROWS_AS(cofork::ipc::decode<BoundedSemaphore>(reader), cofork::DecodeError);
}

TEST_CASE("at most so many processes are inside a semaphore") {
  const Semaphore semaphore(2);
  const Count inside;
  const Count most;
  CHECK(run_in_processes(5, [=](int) {
    for (int i = 0; i < 100; ++i) {
      const LockGuard guard = semaphore.blocking_acquire();
      const int now = ++*inside;
      int before = *most;
      while (before < now && !most->compare_exchange_weak(before, now)) {
      }
      ::sched_yield();
      --*inside;
    }
  }));
  CHECK(*most <= 2);
  CHECK(semaphore.value() == 2);
}

TEST_CASE("permits of the guards of a killed process come back, others do not") {
  const Semaphore semaphore(4);
  kill_when_counted([semaphore](auto ready) {
    const LockGuard one = semaphore.blocking_acquire();
    const LockGuard two = semaphore.blocking_acquire();
    support::require(semaphore.try_acquire(), "try_acquire");
    ready();
    for (;;) ::pause();
  });
  CHECK(semaphore.value() == 3);
}

TEST_CASE("who waits for a semaphore gets the permit of a killed process") {
  const Semaphore semaphore(1);
  const Count there;
  Process holder = start([=] {
    const LockGuard guard = semaphore.blocking_acquire();
    ++*there;
    for (;;) ::pause();
  });
  REQUIRE(support::eventually([&] { return *there == 1; }));
  const auto main = [&]() -> Task<> {
    auto waiting = cofork::spawn(semaphore.acquire());
    co_await cofork::sleep(10ms);
    holder.kill();
    const LockGuard guard = co_await std::move(waiting);
    CHECK(semaphore.value() == 0);
  };
  cofork::run(main);
  holder.blocking_join();
  CHECK(semaphore.value() == 1);
}

TEST_CASE("release wakes those who wait for a semaphore, awaiting and blocking", "[threads]") {
  const Semaphore semaphore(0);
  std::thread blocked([&] {
    const LockGuard guard = semaphore.blocking_acquire();
    CHECK(guard);
  });
  const auto main = [&]() -> Task<> {
    auto waiting = cofork::spawn(semaphore.acquire());
    co_await cofork::sleep(5ms);
    CHECK_FALSE(waiting.done());
    semaphore.release(2);
    const LockGuard guard = co_await std::move(waiting);
  };
  cofork::run(main);
  blocked.join();
  CHECK(semaphore.value() == 2);
}
