// cofork's queue and pipe, from plain code and from coroutines.
#include <array>
#include <cofork/executors/process.hpp>
#include <cofork/ipc/pipe.hpp>
#include <cofork/ipc/queue.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/task.hpp>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "measure.hpp"
#include "measurements.hpp"

namespace bench {

namespace {

using cofork::Process;
using cofork::Task;
using cofork::ipc::Connection;
using cofork::ipc::Queue;

using Bytes = std::vector<std::byte>;

/// A message of a fixed size, as a class of the user's would be.
template <std::size_t size>
struct Block {
  std::array<std::byte, size> bytes;
};

template <class T>
T message_of(std::span<const std::byte> bytes) {
  if constexpr (std::is_same_v<T, Bytes>) {
    return T(bytes.begin(), bytes.end());
  } else {
    T block;
    std::memcpy(&block, bytes.data(), sizeof block);
    return block;
  }
}
template <class T>
std::span<const std::byte> bytes_of(const T& message) {
  if constexpr (std::is_same_v<T, Bytes>)
    return message;
  else
    return message.bytes;
}

/// The handles travel in what it captures.
class ProcessWorker {
 public:
  template <class F, class... A>
  explicit ProcessWorker(F body, A... arguments)
      : process_(std::make_unique<Process>(std::move(body), std::move(arguments)...)) {
    process_->start();
  }
  ProcessWorker(ProcessWorker&&) noexcept = default;
  ~ProcessWorker() {
    if (!process_) return;
    process_->kill();
    process_->blocking_join();
  }

 private:
  std::unique_ptr<Process> process_;
};

template <class T, bool bounded = true>
class LibraryQueue {
 public:
  using Worker = ProcessWorker;
  using Value = T;
  explicit LibraryQueue(const Load& load) : queue_(bounded ? load.capacity() : 0) {}

  struct Sender {
    Queue<T> queue;
    void send(const Bytes& message) requires std::is_same_v<T, Bytes> { queue.blocking_put(message); }
    void send(std::span<const std::byte> message) { queue.blocking_put(message_of<T>(message)); }
    Task<> send_awaited(T message) { return queue.put(std::move(message)); }
  };
  struct Receiver {
    Queue<T> queue;
    T message{};
    std::span<const std::byte> receive() {
      if constexpr (std::is_same_v<T, Bytes>) message = T();
      message = queue.blocking_get();
      return bytes_of(message);
    }
    Task<T> receive_awaited() { return queue.get(); }
  };
  Sender sender(int) const { return {queue_}; }
  Receiver receiver() const { return {queue_}; }

 private:
  Queue<T> queue_;
};

template <class T>
class LibraryPipe {
 public:
  using Worker = ProcessWorker;
  using Value = T;
  explicit LibraryPipe(const Load&) : ends_(cofork::ipc::pipe<T>({.duplex = false})) {}

  struct Sender {
    Connection<T> connection;
    T message{};
    void send(const Bytes& bytes) requires std::is_same_v<T, Bytes> { connection.blocking_send(bytes); }
    void send(std::span<const std::byte> bytes) {
      if constexpr (std::is_same_v<T, Bytes>)
        message.assign(bytes.begin(), bytes.end());
      else
        message = message_of<T>(bytes);
      connection.blocking_send(message);
    }
    Task<> send_awaited(const T& value) { return connection.send(value); }
  };
  struct Receiver {
    Connection<T> connection;
    T message{};
    std::span<const std::byte> receive() {
      message = connection.blocking_recv();
      return bytes_of(message);
    }
    Task<T> receive_awaited() { return connection.recv(); }
  };
  Sender sender(int) const { return {ends_.second}; }
  Receiver receiver() const { return {ends_.first}; }

 private:
  std::pair<Connection<T>, Connection<T>> ends_;
};

template <class C>
Task<> produce(typename C::Sender sender, Load load, int producer) {
  pin(load.producer_cpu);
  Bytes message(load.size);
  for (std::uint64_t number = 0;; ++number) {
    stamp(message, producer, number);
    auto value = message_of<typename C::Value>(message);
    co_await sender.send_awaited(std::move(value));
  }
}

template <class C>
Task<double> consume(typename C::Receiver receiver, Load load) {
  pin(load.consumer_cpu);
  Check check(load);
  const auto first = co_await receiver.receive_awaited();
  check(bytes_of(first));
  Count count(load);
  do {
    for (int i = 0; i != count.step(); ++i) {
      const auto message = co_await receiver.receive_awaited();
      check(bytes_of(message));
    }
  } while (count.next());
  co_return count.thousands_per_second();
}

template <class C>
double awaited_rate(const Load& load) {
  C channel(load);
  std::vector<ProcessWorker> producers;
  for (int i = 0; i != load.producers; ++i) producers.emplace_back(produce<C>, channel.sender(i), load, i);
  return cofork::run(consume<C>(channel.receiver(), load));
}

template <class C>
Task<> answer(typename C::Receiver receiver, typename C::Sender sender, Load load) {
  pin(load.producer_cpu);
  for (;;) {
    auto message = co_await receiver.receive_awaited();
    co_await sender.send_awaited(std::move(message));
  }
}

template <class C>
Task<double> ask(typename C::Sender sender, typename C::Receiver receiver, Load load) {
  pin(load.consumer_cpu);
  Check check(load);
  Bytes bytes(load.size);
  std::uint64_t number = 0;
  Batches batches(load.seconds);
  while (batches.next()) {
    for (int i = 0; i != Batches::trips; ++i) {
      stamp(bytes, 0, number++);
      auto message = message_of<typename C::Value>(bytes);
      co_await sender.send_awaited(std::move(message));
      message = co_await receiver.receive_awaited();
      check(bytes_of(message));
    }
  }
  co_return batches.microseconds_each();
}

template <class C>
double awaited_trips(const Load& load) {
  C there(load), back(load);
  const ProcessWorker partner(answer<C>, there.receiver(), back.sender(0), load);
  return cofork::run(ask<C>(there.sender(0), back.receiver(), load));
}

template <class T>
void add(std::vector<Channel>& channels, const std::string& type) {
  channels.insert(channels.end(), {
                                      {Contestant::cofork, "cofork Queue<" + type + ">, blocking",
                                       rate<LibraryQueue<T>>, trips<LibraryQueue<T>>},
                                      {Contestant::cofork, "cofork Queue<" + type + ">, awaited",
                                       awaited_rate<LibraryQueue<T>>, awaited_trips<LibraryQueue<T>>},
                                      {Contestant::cofork, "cofork Connection<" + type + ">, blocking",
                                       rate<LibraryPipe<T>>, trips<LibraryPipe<T>>},
                                      {Contestant::cofork, "cofork Connection<" + type + ">, awaited",
                                       awaited_rate<LibraryPipe<T>>, awaited_trips<LibraryPipe<T>>},
                                  });
}

}  // namespace

std::vector<Channel> library_channels(const Load& load) {
  std::vector<Channel> channels;
  switch (load.size) {
    case 16:
      add<Block<16>>(channels, "struct");
      break;
    case 256:
      add<Block<256>>(channels, "struct");
      break;
    case 4096:
      add<Block<4096>>(channels, "struct");
      break;
  }
  if (load.size == 16)
    channels.push_back({Contestant::cofork, "cofork Queue<struct> without maxsize, blocking",
                        rate<LibraryQueue<Block<16>, false>>, trips<LibraryQueue<Block<16>, false>>});
  if (load.size >= 256) add<Bytes>(channels, "vector");
  return channels;
}

}  // namespace bench
