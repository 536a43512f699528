#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cofork/ipc/task_receiver.hpp>
#include <cofork/ipc/task_sender.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using namespace cofork::ipc;
using cofork::DecodeError;
using Kind = ResultFrame::Kind;

namespace {

/// Both ends in one process; everything that the receiver does here finds what it waits for.
struct Channel {
  Channel() : receiver(make_receiver()) {}

  std::uint64_t send(const std::string& text, std::uint32_t items = 1, std::uint32_t flags = 0) {
    sender.begin_frame().bytes(text.data(), text.size());
    return sender.publish({1, 2}, items, flags, 0);
  }
  TaskReceiver::Frame receive() {
    std::optional<TaskReceiver::Frame> frame = receiver.next_frame();
    REQUIRE(frame);
    return *std::move(frame);
  }
  void answer(const TaskReceiver::Frame& frame, std::uint32_t item, const std::string& text) {
    receiver.begin_result().bytes(text.data(), text.size());
    receiver.publish(Kind::value, frame, item, {});
  }
  std::optional<std::string> result() {
    TaskSender::Result result;
    if (!sender.next_result(result)) return std::nullopt;
    const std::string text(reinterpret_cast<const char*>(result.message.data()), result.message.size());
    sender.results_done();
    return text;
  }

  TaskSender sender;
  TaskReceiver receiver;

 private:
  TaskReceiver make_receiver() {
    std::array<int, 5> given;
    const std::array<int, 5> own = sender.worker_descriptors();
    for (std::size_t i = 0; i < given.size(); ++i) given[i] = ::fcntl(own[i], F_DUPFD_CLOEXEC, 0);
    sender.worker_has_them();
    return TaskReceiver(given);
  }
};

std::string text_of(const TaskReceiver::Frame& frame) {
  return {reinterpret_cast<const char*>(frame.message.data()), frame.message.size()};
}

std::string letters(std::size_t size, std::size_t seed) {
  std::string text(size, 'a');
  for (std::size_t i = 0; i < size; i += 97) text[i] = static_cast<char>('a' + (i + seed) % 26);
  return text;
}

}  // namespace

TEST_CASE("frames and results of every size pass through the rings many times around") {
  Channel channel;
  std::mt19937 random(7);
  for (std::size_t i = 0; i < 3000; ++i) {
    const std::size_t size = i % 100 == 0 ? random() % 300'000 : i % 10 == 0 ? random() % 40'000 : random() % 500;
    const std::string text = letters(size, i);
    REQUIRE(channel.sender.has_room());
    const std::uint64_t sequence = channel.send(text);
    CHECK(sequence == i);
    const TaskReceiver::Frame frame = channel.receive();
    if (text_of(frame) != text) FAIL("a wrong message");
    if (reinterpret_cast<std::uintptr_t>(frame.message.data()) % message_alignment != 0) FAIL("not aligned");
    if (channel.receiver.claim(frame, 1) != 0u) FAIL("not claimed");
    if (channel.receiver.claim(frame, 1)) FAIL("claimed twice");
    channel.answer(frame, 0, text);
    channel.receiver.pass(frame);
    if (channel.sender.passed() != i + 1) FAIL("not passed");
    if (channel.result() != text) FAIL("a wrong result");
    channel.sender.release_frame();
  }
  CHECK_FALSE(channel.result());
}

TEST_CASE("a full ring has no room until frames are passed") {
  for (const std::size_t size : {0, 60, 900, 5000, 31'000}) {
    INFO("size " << size);
    Channel channel;
    std::size_t sent = 0, received = 0;
    for (int round = 0; round < 5; ++round) {
      while (channel.sender.has_room()) channel.send(letters(size, sent++));
      CHECK(sent - received <= max_frames);
      // Beyond what the ring holds they are in the arena.
      CHECK((sent - received) * (size < 1024 ? size : 0) <= task_ring_bytes);
      CHECK(sent > received);
      for (const std::size_t until = round % 2 == 0 ? sent : received + 1; received < until; ++received) {
        const TaskReceiver::Frame frame = channel.receive();
        if (text_of(frame) != letters(size, received)) FAIL("a wrong message");
        channel.receiver.pass(frame);
        channel.sender.release_frame();
      }
    }
  }
}

TEST_CASE("many large messages are in the arenas at once and free them in any order") {
  Channel channel;
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < 12; ++i) texts.push_back(letters(100'000 * (i + 1), i));
  for (int round = 0; round < 3; ++round) {
    const std::uint64_t first = channel.sender.passed();
    for (const std::string& text : texts) channel.send(text);
    // Their arguments were taken: this memory is used for others.
    std::vector<TaskReceiver::Frame> frames;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      frames.push_back(channel.receive());
      if (text_of(frames[i]) != texts[i]) FAIL("a wrong message");
      channel.receiver.claim(frames[i], 1);
      if (i % 3 == 0) channel.sender.arguments_taken(first + i);
      if (i % 3 == 0) channel.sender.arguments_taken(first + i);
    }
    for (std::size_t i = 0; i < texts.size(); ++i) channel.answer(frames[i], 0, texts[i]);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (channel.result() != texts[i]) FAIL("a wrong result");
      channel.receiver.pass(frames[i]);
      channel.sender.release_frame();
    }
  }
  CHECK(channel.sender.holds_idle_memory());
  channel.sender.give_back();
  CHECK_FALSE(channel.sender.holds_idle_memory());
  channel.send(texts[3]);
  CHECK(text_of(channel.receive()) == texts[3]);
}

TEST_CASE("a message that was begun and dropped leaves no trace") {
  Channel channel;
  for (int i = 0; i < 100; ++i) {
    const std::string text = letters(i % 2 == 0 ? 100 : 400'000, 1);
    channel.sender.begin_frame().bytes(text.data(), text.size());
    channel.sender.drop_frame();
    channel.sender.drop_frame();
  }
  channel.send("after");
  const TaskReceiver::Frame frame = channel.receive();
  CHECK(text_of(frame) == "after");
  channel.receiver.claim(frame, 1);
  channel.receiver.begin_result().bytes("never sent", 10);
  const std::string large = letters(500'000, 2);
  channel.receiver.begin_result().bytes(large.data(), large.size());
  channel.answer(frame, 0, "sent");
  CHECK(channel.result() == "sent");
}

TEST_CASE("items are taken back up to the one that was begun") {
  for (std::uint32_t begun = 0; begun <= 5; ++begun) {
    for (std::uint32_t keep = 0; keep <= 6; ++keep) {
      INFO("begun " << begun << ", keep " << keep);
      Channel channel;
      const std::uint64_t sequence = channel.send("x", 5);
      const TaskReceiver::Frame frame = channel.receive();
      for (std::uint32_t item = 0; item < begun; ++item) CHECK(channel.receiver.claim(frame, item) == item);
      CHECK(channel.sender.begun(sequence) == begun);
      const std::uint32_t left = channel.sender.take_back(sequence, keep);
      CHECK(left == std::min(5u, std::max(begun, keep)));
      for (std::uint32_t item = begun; item < left; ++item) CHECK(channel.receiver.claim(frame, item) == item);
      CHECK_FALSE(channel.receiver.claim(frame, 9));
      CHECK(channel.sender.take_back(sequence, 0) == left);
      CHECK(channel.sender.begun(sequence) == left);
    }
  }
}

TEST_CASE("what was claimed of a frame says nothing about the one that comes to its place") {
  Channel channel;
  for (std::uint64_t round = 0; round < 3 * max_frames; ++round) {
    const std::uint64_t sequence = channel.send("x", max_items);
    const TaskReceiver::Frame frame = channel.receive();
    std::uint32_t left = max_items;
    REQUIRE(channel.sender.begun(sequence) == 0);
    // By the parent, by the worker, or by both.
    if (round % 3 != 0) left = channel.sender.take_back(sequence, round % 3 == 1 ? 0 : 1);
    for (std::uint32_t item = 0; item < std::min(left, 2u); ++item) REQUIRE(channel.receiver.claim(frame, 7) == item);
    REQUIRE(channel.sender.begun(sequence) == std::min(left, 2u));
    REQUIRE(bool(channel.receiver.claim(frame, 7)) == (left > 2));
    channel.receiver.pass(frame);
    channel.sender.release_frame();
  }
}

TEST_CASE("claiming and taking back agree on every item while both go on", "[threads]") {
  Channel channel;
  for (int round = 0; round < 300; ++round) {
    const std::uint64_t sequence = channel.send("x", 1000);
    const TaskReceiver::Frame frame = channel.receive();
    std::uint32_t claimed = 0;
    std::thread worker([&] {
      while (channel.receiver.claim(frame, 1)) ++claimed;
    });
    std::uint32_t left = 1000;
    for (std::uint32_t keep = 900; left > channel.sender.begun(sequence) && keep > 0; keep -= 100)
      left = channel.sender.take_back(sequence, keep);
    left = channel.sender.take_back(sequence, 0);
    worker.join();
    if (claimed != left) FAIL(claimed << " were claimed, " << left << " were left");
    channel.receiver.pass(frame);
    channel.sender.release_frame();
  }
}

TEST_CASE("descriptors travel with frames and results") {
  Channel channel;
  for (int i = 0; i < 200; ++i) {
    TaskSender::Message& message = channel.sender.begin_frame();
    for (int n = 0; n < i % 4; ++n) message.descriptor(0);
    channel.sender.publish({1, 2}, 1, 0, 0);
    TaskReceiver::Frame frame = channel.receive();
    CHECK(frame.descriptors.size() == static_cast<std::size_t>(i % 4));
    channel.receiver.claim(frame, 1);
    TaskReceiver::Message& answer = channel.receiver.begin_result();
    for (int n = 0; n < i % 3; ++n) answer.descriptor(0);
    channel.receiver.publish(Kind::value, frame, 0, {});
    TaskSender::Result result;
    REQUIRE(channel.sender.next_result(result));
    CHECK(result.descriptors.size() == static_cast<std::size_t>(i % 3));
    channel.sender.results_done();
    channel.receiver.pass(frame);
    channel.sender.release_frame();
  }
  // No more frames with descriptors than the socket holds.
  int sent = 0;
  while (channel.sender.has_room()) {
    channel.sender.begin_frame().descriptor(0);
    channel.sender.publish({1, 2}, 1, 0, 0);
    ++sent;
  }
  CHECK(sent >= 16);
  CHECK(sent <= 128);
}

TEST_CASE("a worker that fills its ring waits until the parent has read", "[threads]") {
  Channel channel;
  channel.send("x", 20'000);
  std::thread worker([&] {
    const TaskReceiver::Frame frame = *channel.receiver.next_frame();
    while (const auto item = channel.receiver.claim(frame, 1))
      channel.answer(frame, *item, letters(*item % 1000 == 0 ? 50'000 : *item % 700, *item));
    channel.receiver.pass(frame);
  });
  for (std::uint32_t item = 0; item < 20'000;) {
    const std::optional<std::string> text = channel.result();
    if (!text) {
      std::this_thread::yield();
      continue;
    }
    if (*text != letters(item % 1000 == 0 ? 50'000 : item % 700, item)) FAIL("wrong at " << item);
    ++item;
  }
  worker.join();
  CHECK(channel.sender.passed() == 1);
}

TEST_CASE("the parent sleeps until the result of a frame that the worker has passed is there") {
  Channel channel;
  channel.send("a");
  const TaskReceiver::Frame frame = channel.receive();
  REQUIRE(channel.receiver.claim(frame, 1) == 0u);
  channel.receiver.pass(frame);
  CHECK_FALSE(channel.sender.sleep_until_result(1));
  channel.sender.awake();
  CHECK(channel.sender.passed() == 1);
  CHECK(channel.sender.sleep_until_result(1));
  channel.sender.awake();
  channel.answer(frame, 0, "b");
  CHECK_FALSE(channel.sender.sleep_until_result(1));
  channel.sender.awake();
  CHECK(channel.result() == "b");
}

TEST_CASE("a worker that is told to leave does what it has first") {
  Channel channel;
  channel.send("one");
  channel.sender.tell_to_leave();
  const TaskReceiver::Frame frame = channel.receive();
  CHECK(text_of(frame) == "one");
  channel.receiver.pass(frame);
  CHECK_FALSE(channel.receiver.next_frame());
}
