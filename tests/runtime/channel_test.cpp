#include <cofork/runtime/channel.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::Counted;
using support::turns;

namespace {

template <class T>
Task<> drain(Channel<T>& channel, std::vector<T>& into) {
  while (auto value = co_await channel.recv()) into.push_back(std::move(*value));
}

Task<> receive_one(Channel<int>& channel, std::vector<int>& into) {
  const std::optional<int> value = co_await channel.recv();
  into.push_back(value.value_or(-1));
}

Task<> send_and_note(Channel<int>& channel, int value, std::vector<int>& sent) {
  co_await channel.send(value);
  sent.push_back(value);
}

}  // namespace

TEST_CASE("a channel gives its values in the order in which they were sent") {
  const std::size_t capacity = GENERATE(0, 1, 3, 1000);
  Channel<int> channel(capacity);
  std::vector<int> received;
  run([&]() -> Task<> {
    const Future<void> receiver = spawn(drain(channel, received));
    for (int value = 0; value < 200; ++value) co_await channel.send(value);
    channel.close();
    while (!receiver.done()) co_await turns(1);
    std::vector<int> expected(200);
    std::iota(expected.begin(), expected.end(), 0);
    CHECK(received == expected);
  });
}

TEST_CASE("a channel takes as many values as its capacity without a receiver") {
  Channel<int> channel(2);
  std::vector<int> sent;
  run([&]() -> Task<> {
    const Future<void> first = spawn(send_and_note(channel, 1, sent));
    const Future<void> second = spawn(send_and_note(channel, 2, sent));
    const Future<void> third = spawn(send_and_note(channel, 3, sent));
    const Future<void> fourth = spawn(send_and_note(channel, 4, sent));
    co_await turns(3);
    CHECK(sent == std::vector{1, 2});
    const std::optional<int> value = co_await channel.recv();
    CHECK(value == 1);
    co_await turns(1);
    CHECK(sent == std::vector{1, 2, 3});
  });
}

TEST_CASE("with a capacity of 0 every send waits for its receiver") {
  Channel<int> channel(0);
  std::vector<int> sent;
  std::vector<int> received;
  run([&]() -> Task<> {
    const Future<void> sender = spawn(send_and_note(channel, 1, sent));
    co_await turns(3);
    CHECK(sent.empty());
    const std::optional<int> value = co_await channel.recv();
    CHECK(value == 1);
    co_await turns(1);
    CHECK(sender.done());
    const Future<void> receiver = spawn(receive_one(channel, received));
    co_await turns(1);
    // Somebody waits: this send is over at once.
    co_await channel.send(2);
    CHECK(received.empty());
    co_await turns(1);
    CHECK(received == std::vector{2});
  });
}

TEST_CASE("receivers and senders of a channel are served in the order in which they came") {
  Channel<int> channel(1);
  std::vector<int> sent;
  std::vector<int> order;
  std::vector<Future<void>> tasks;
  run([&]() -> Task<> {
    const auto receiver = [&](int name) -> Task<> {
      const std::optional<int> value = co_await channel.recv();
      order.push_back(10 * name + value.value_or(-1));
    };
    for (int name = 1; name <= 3; ++name) tasks.push_back(spawn(receiver(name)));
    co_await turns(1);
    for (int value = 1; value <= 3; ++value) co_await channel.send(value);
    co_await turns(1);
    CHECK(order == std::vector{11, 22, 33});
    for (int value = 1; value <= 4; ++value) tasks.push_back(spawn(send_and_note(channel, value, sent)));
    co_await turns(1);
    std::vector<int> received;
    for (int count = 0; count < 4; ++count) received.push_back((co_await channel.recv()).value_or(-1));
    CHECK(received == std::vector{1, 2, 3, 4});
  });
}

TEST_CASE("many senders and receivers lose and double nothing") {
  const std::size_t capacity = GENERATE(0, 1, 7);
  Channel<int> channel(capacity);
  std::vector<int> times(1000, 0);
  run([&]() -> Task<> {
    const auto send = [&](int from) -> Task<> {
      for (int value = from; value < 1000; value += 10) {
        co_await channel.send(value);
        if (value % 7 == 0) co_await turns(value % 3);
      }
    };
    const auto receive = [&](int pause) -> Task<> {
      while (auto value = co_await channel.recv()) {
        ++times[static_cast<std::size_t>(*value)];
        co_await turns(pause);
      }
    };
    std::vector<Future<void>> senders;
    std::vector<Future<void>> receivers;
    for (int from = 0; from < 10; ++from) senders.push_back(spawn(send(from)));
    for (int pause = 0; pause < 5; ++pause) receivers.push_back(spawn(receive(pause)));
    for (Future<void>& sender : senders) co_await sender;
    channel.close();
    for (Future<void>& receiver : receivers) co_await receiver;
    CHECK(times == std::vector<int>(1000, 1));
  });
}

TEST_CASE("a closed channel gives what was sent before, then nullopt for ever") {
  run([]() -> Task<> {
    Channel<int> channel(5);
    co_await channel.send(1);
    co_await channel.send(2);
    channel.close();
    channel.close();
    std::vector<int> received;
    co_await drain(channel, received);
    CHECK(received == std::vector{1, 2});
    const std::optional<int> after = co_await channel.recv();
    CHECK_FALSE(after.has_value());
  });
}

TEST_CASE("closing a channel wakes its receivers with nullopt") {
  Channel<int> channel(0);
  std::vector<int> received;
  run([&]() -> Task<> {
    const Future<void> first = spawn(receive_one(channel, received));
    const Future<void> second = spawn(receive_one(channel, received));
    co_await turns(1);
    channel.close();
    co_await turns(1);
    CHECK(received == std::vector{-1, -1});
  });
}

TEST_CASE("sending to a closed channel throws, also for those who wait when it is closed") {
  Channel<int> channel(1);
  std::vector<int> sent;
  run([&]() -> Task<> {
    co_await channel.send(1);
    Future<void> waiting = spawn(send_and_note(channel, 2, sent));
    co_await turns(1);
    channel.close();
    const bool throws = co_await support::throws<InvalidStateError>(channel.send(3));
    CHECK(throws);
    co_await turns(1);
    CHECK(waiting.done());
    CHECK_THROWS_AS(waiting.result(), InvalidStateError);
    std::vector<int> received;
    co_await drain(channel, received);
    CHECK(received == std::vector{1});
    CHECK(sent.empty());
  });
}

TEST_CASE("cancelling a send takes its value out of the line") {
  const std::size_t capacity = 1;
  Channel<int> channel(capacity);
  std::vector<int> sent;
  run([&]() -> Task<> {
    co_await channel.send(1);
    Future<void> second = spawn(send_and_note(channel, 2, sent));
    const Future<void> third = spawn(send_and_note(channel, 3, sent));
    co_await turns(1);
    second.cancel();
    co_await turns(1);
    CHECK(second.cancelled());
    const std::optional<int> first_value = co_await channel.recv();
    const std::optional<int> second_value = co_await channel.recv();
    CHECK(first_value == 1);
    CHECK(second_value == 3);
  });
}

TEST_CASE("a send whose value was received before the cancellation has happened") {
  Channel<int> channel(0);
  std::vector<int> sent;
  run([&]() -> Task<> {
    Future<void> sender = spawn(send_and_note(channel, 1, sent));
    co_await turns(1);
    const std::optional<int> value = co_await channel.recv();
    CHECK(value == 1);
    sender.cancel();
    co_await turns(1);
    CHECK_FALSE(sender.cancelled());
    CHECK(sent == std::vector{1});
  });
}

TEST_CASE("a value that was handed over before the cancellation is delivered") {
  Channel<int> channel(0);
  std::vector<int> received;
  run([&]() -> Task<> {
    Future<void> receiver = spawn(receive_one(channel, received));
    co_await turns(1);
    co_await channel.send(1);
    receiver.cancel();
    co_await turns(1);
    CHECK_FALSE(receiver.cancelled());
    CHECK(received == std::vector{1});
  });
}

TEST_CASE("a receiver that was cancelled takes no value") {
  Channel<int> channel(0);
  std::vector<int> received;
  run([&]() -> Task<> {
    Future<void> first = spawn(receive_one(channel, received));
    const Future<void> second = spawn(receive_one(channel, received));
    co_await turns(1);
    first.cancel();
    co_await channel.send(1);
    co_await turns(1);
    CHECK(first.cancelled());
    CHECK(received == std::vector{1});
  });
}

TEST_CASE("a value goes back to its channel when the receiver it was handed to is destroyed") {
  const std::size_t capacity = GENERATE(0, 2);
  Channel<int> channel(capacity);
  std::vector<int> received;
  run([&]() -> Task<> {
    support::Started first(receive_one(channel, received));
    support::Started second(receive_one(channel, received));
    co_await channel.send(1);
    first.destroy();
    co_await turns(1);
    CHECK(received == std::vector{1});
    support::Started third(receive_one(channel, received));
    co_await channel.send(2);
    third.destroy();
    const std::optional<int> value = co_await channel.recv();
    CHECK(value == 2);
  });
}

TEST_CASE("a sender that is destroyed while it waits takes its value with it") {
  Counted::reset();
  run([]() -> Task<> {
    Channel<Counted> channel(0);
    const auto send = [&]() -> Task<> { co_await channel.send(Counted(1)); };
    support::Started sender(send());
    CHECK(Counted::alive() > 0);
    sender.destroy();
    CHECK(Counted::alive() == 0);
    channel.close();
    const std::optional<Counted> value = co_await channel.recv();
    CHECK_FALSE(value.has_value());
  });
  CHECK(Counted::alive() == 0);
}

TEST_CASE("in a cancelled coroutine a channel does what it can do at once") {
  Channel<int> channel(1);
  std::vector<bool> threw;
  run([&]() -> Task<> {
    const auto body = [&]() -> Task<> {
      co_await support::throws<CancelledError>(sleep(1h));
      threw.push_back(co_await support::throws<CancelledError>(channel.send(1)));
      threw.push_back(co_await support::throws<CancelledError>(channel.send(2)));
      threw.push_back(co_await support::throws<CancelledError>(channel.recv()));
      threw.push_back(co_await support::throws<CancelledError>(channel.recv()));
    };
    Future<void> task = spawn(body());
    co_await turns(1);
    task.cancel();
    co_await task;
    CHECK(threw == std::vector{false, true, false, true});
  });
}

TEST_CASE("a channel moves its values") {
  Channel<std::unique_ptr<std::string>> channel(1);
  std::vector<std::unique_ptr<std::string>> received;
  run([&]() -> Task<> {
    Future<void> receiver = spawn(drain(channel, received));
    for (const char* const text : {"one", "two", "three"}) {
      auto value = std::make_unique<std::string>(text);
      co_await channel.send(std::move(value));
    }
    channel.close();
    co_await receiver;
    REQUIRE(received.size() == 3);
    CHECK(*received[2] == "three");
  });
}

TEST_CASE("a channel destroys the values that nobody received") {
  Counted::reset();
  run([]() -> Task<> {
    Channel<Counted> channel(3);
    for (int value = 0; value < 3; ++value) co_await channel.send(Counted(value));
    CHECK(Counted::alive() == 3);
  });
  CHECK(Counted::alive() == 0);
}

TEST_CASE("who waits for a channel that is destroyed can still be cancelled") {
  std::optional<Channel<int>> full(std::in_place, 0u);
  std::optional<Channel<int>> empty(std::in_place, 0u);
  std::vector<int> unused;
  run([&]() -> Task<> {
    Future<void> sender = spawn(send_and_note(*full, 1, unused));
    Future<void> receiver = spawn(receive_one(*empty, unused));
    co_await turns(1);
    full.reset();
    empty.reset();
    sender.cancel();
    receiver.cancel();
    co_await turns(1);
    CHECK(sender.cancelled());
    CHECK(receiver.cancelled());
  });
}

TEST_CASE("the waits of a channel convert to tasks") {
  run([]() -> Task<> {
    Channel<std::string> channel(0);
    Future<void> sender = spawn<void>(channel.send("text"));
    Future<std::optional<std::string>> receiver = spawn<std::optional<std::string>>(channel.recv());
    co_await sender;
    const std::optional<std::string> value = co_await std::move(receiver);
    CHECK(value == "text");
  });
}
