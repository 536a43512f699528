// What the system has: pipes, sockets, POSIX queues; and the ring.
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <system_error>

#include "measure.hpp"
#include "measurements.hpp"
#include "ring.hpp"

namespace bench {

namespace {

// Every measurement is a process of its own: descriptors end with it.

template <class Result>
Result checked(Result result, const char* operation) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), operation);
  return result;
}

class StreamSender {
 public:
  explicit StreamSender(int descriptor) : descriptor_(descriptor) {}
  void send(std::span<const std::byte> message) {
    while (!message.empty())
      message = message.subspan(
          static_cast<std::size_t>(checked(write(descriptor_, message.data(), message.size()), "write")));
  }

 private:
  int descriptor_;
};

class StreamReceiver {
 public:
  StreamReceiver(const std::vector<int>& descriptors, std::size_t size) : message_(size) {
    for (const int descriptor : descriptors) polled_.push_back({descriptor, POLLIN, 0});
  }

  std::span<const std::byte> receive() {
    int descriptor = polled_[0].fd;
    if (polled_.size() > 1) {
      while (turn_ == polled_.size() || !(polled_[turn_].revents & POLLIN)) next();
      descriptor = polled_[turn_++].fd;
    }
    for (std::span<std::byte> rest = message_; !rest.empty();) {
      const ssize_t size = checked(read(descriptor, rest.data(), rest.size()), "read");
      if (size == 0) throw std::runtime_error("a producer has ended");
      rest = rest.subspan(static_cast<std::size_t>(size));
    }
    return message_;
  }

 private:
  void next() {
    if (turn_ < polled_.size() && ++turn_ < polled_.size()) return;
    turn_ = 0;
    checked(poll(polled_.data(), polled_.size(), -1), "poll");
  }

  std::vector<pollfd> polled_;
  std::size_t turn_ = 0;
  std::vector<std::byte> message_;
};

/// One stream for each producer, so that the parts of long messages do not mix.
class Streams {
 public:
  using Worker = Partner;
  StreamSender sender(int producer) const {
    return StreamSender(senders_[static_cast<std::size_t>(producer) % senders_.size()]);
  }
  StreamReceiver receiver() const { return {receivers_, size_}; }

 protected:
  explicit Streams(const Load& load) : size_(load.size) {}
  void add(int sender, int receiver) {
    senders_.push_back(sender);
    receivers_.push_back(receiver);
  }

 private:
  std::size_t size_;
  std::vector<int> senders_, receivers_;
};

class RawPipe : public Streams {
 public:
  explicit RawPipe(const Load& load) : Streams(load) {
    // What is not longer than this is written at once, and all can write to the same pipe.
    const int pipes = load.size <= PIPE_BUF ? 1 : load.producers;
    for (int i = 0; i != pipes; ++i) {
      int ends[2];
      checked(pipe2(ends, O_CLOEXEC), "pipe2");
      add(ends[1], ends[0]);
    }
  }
};

class RawSocket : public Streams {
 public:
  explicit RawSocket(const Load& load) : Streams(load) {
    for (int i = 0; i != load.producers; ++i) {
      int ends[2];
      checked(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "socketpair");
      add(ends[1], ends[0]);
    }
  }
};

long system_limit(const std::string& name) {
  long value = 0;
  std::ifstream("/proc/sys/fs/mqueue/" + name) >> value;
  return value;
}

/// With the limits of a system that nobody has changed for it.
class PosixQueue {
 public:
  using Worker = Partner;
  explicit PosixQueue(const Load& load) : size_(load.size) {
    static int count = 0;
    const std::string name = "/benchmark-ipc-" + std::to_string(getpid()) + "-" + std::to_string(count++);
    mq_attr attributes{};
    attributes.mq_maxmsg = system_limit("msg_max");
    attributes.mq_msgsize = static_cast<long>(load.size);
    queue_ = checked(mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, &attributes), "mq_open");
    checked(mq_unlink(name.c_str()), "mq_unlink");
  }

  struct Sender {
    mqd_t queue;
    void send(std::span<const std::byte> message) {
      checked(mq_send(queue, reinterpret_cast<const char*>(message.data()), message.size(), 0), "mq_send");
    }
  };
  struct Receiver {
    mqd_t queue;
    std::vector<std::byte> message;
    std::span<const std::byte> receive() {
      const ssize_t size =
          checked(mq_receive(queue, reinterpret_cast<char*>(message.data()), message.size(), nullptr), "mq_receive");
      return {message.data(), static_cast<std::size_t>(size)};
    }
  };
  Sender sender(int) const { return {queue_}; }
  Receiver receiver() const { return {queue_, std::vector<std::byte>(size_)}; }

 private:
  std::size_t size_;
  mqd_t queue_;
};

}  // namespace

std::vector<Channel> raw_channels(const Load& load) {
  std::vector<Channel> channels{
      {Contestant::limit, "shared-memory ring, not crash-safe", rate<RingChannel>, trips<RingChannel>},
      {Contestant::peer, "raw pipe", rate<RawPipe>, trips<RawPipe>},
      {Contestant::peer, "raw socketpair", rate<RawSocket>, trips<RawSocket>},
  };
  const long longest = system_limit("msgsize_max");
  Channel posix{Contestant::peer, "POSIX queue of " + std::to_string(system_limit("msg_max")) + " messages"};
  if (longest == 0) {
    posix.without = "not in this system";
  } else if (load.size > static_cast<std::size_t>(longest)) {
    posix.without = "no messages of more than " + std::to_string(longest) + " bytes";
  } else {
    posix.rate = rate<PosixQueue>;
    posix.trips = trips<PosixQueue>;
  }
  channels.push_back(posix);
  return channels;
}

}  // namespace bench
