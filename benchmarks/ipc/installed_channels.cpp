// Libraries that may be there or not.
#include "measure.hpp"
#include "measurements.hpp"

#ifdef BENCHMARK_BOOST
#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/version.hpp>
#endif
#ifdef BENCHMARK_ZEROMQ
#include <zmq.h>
#endif

#include <unistd.h>

#include <memory>
#include <string>

namespace bench {

namespace {

[[maybe_unused]] std::string unique_name() {
  static int count = 0;
  return "benchmark-ipc-" + std::to_string(getpid()) + "-" + std::to_string(count++);
}

#ifdef BENCHMARK_BOOST
using boost::interprocess::message_queue;

class BoostQueue {
 public:
  using Worker = Partner;
  explicit BoostQueue(const Load& load) : load_(load) {
    const std::string name = unique_name();
    queue_ =
        std::make_shared<message_queue>(boost::interprocess::create_only, name.c_str(), load.capacity(), load.size);
    message_queue::remove(name.c_str());
  }

  struct Sender {
    std::shared_ptr<message_queue> queue;
    void send(std::span<const std::byte> message) { queue->send(message.data(), message.size(), 0); }
  };
  struct Receiver {
    std::shared_ptr<message_queue> queue;
    std::vector<std::byte> message;
    std::span<const std::byte> receive() {
      message_queue::size_type size = 0;
      unsigned priority = 0;
      queue->receive(message.data(), message.size(), size, priority);
      return {message.data(), size};
    }
  };
  Sender sender(int) const { return {queue_}; }
  Receiver receiver() const { return {queue_, std::vector<std::byte>(load_.size)}; }

 private:
  Load load_;
  std::shared_ptr<message_queue> queue_;
};
#endif

#ifdef BENCHMARK_ZEROMQ
/// Its threads do not survive a fork: each process makes its socket when it first needs it. All ends with the process.
class ZeroSocket {
 public:
  ZeroSocket(int type, std::string address) : type_(type), address_(std::move(address)) {}

  void* get() {
    if (!socket_) open();
    return socket_;
  }

 private:
  static void check(bool right) {
    if (!right) throw std::runtime_error(std::string("ZeroMQ: ") + zmq_strerror(zmq_errno()));
  }
  void open() {
    static void* const context = zmq_ctx_new();
    check(context != nullptr);
    socket_ = zmq_socket(context, type_);
    check(socket_ != nullptr);
    check((type_ == ZMQ_PULL ? zmq_bind : zmq_connect)(socket_, address_.c_str()) == 0);
  }

  int type_;
  std::string address_;
  void* socket_ = nullptr;
};

class ZeroQueue {
 public:
  using Worker = Partner;
  explicit ZeroQueue(const Load&) : address_("ipc://@" + unique_name()) {}

  class Sender {
   public:
    explicit Sender(const std::string& address) : socket_(ZMQ_PUSH, address) {}
    void send(std::span<const std::byte> message) {
      if (zmq_send(socket_.get(), message.data(), message.size(), 0) < 0) throw std::runtime_error("zmq_send failed");
    }

   private:
    ZeroSocket socket_;
  };
  class Receiver {
   public:
    explicit Receiver(const std::string& address) : socket_(ZMQ_PULL, address) { zmq_msg_init(&message_); }
    std::span<const std::byte> receive() {
      if (zmq_msg_recv(&message_, socket_.get(), 0) < 0) throw std::runtime_error("zmq_msg_recv failed");
      return {static_cast<const std::byte*>(zmq_msg_data(&message_)), zmq_msg_size(&message_)};
    }

   private:
    ZeroSocket socket_;
    zmq_msg_t message_;
  };
  Sender sender(int) const { return Sender(address_); }
  Receiver receiver() const { return Receiver(address_); }

 private:
  std::string address_;
};
#endif

}  // namespace

std::vector<Channel> installed_channels(const Load&) {
  Channel boost{Contestant::peer, "boost::interprocess::message_queue"};
  Channel zero{Contestant::peer, "ZeroMQ ipc://, PUSH and PULL"};
#ifdef BENCHMARK_BOOST
  boost.rate = rate<BoostQueue>;
  boost.trips = trips<BoostQueue>;
#endif
#ifdef BENCHMARK_ZEROMQ
  zero.rate = rate<ZeroQueue>;
  zero.trips = trips<ZeroQueue>;
#endif
  return {boost, zero};
}

std::string versions_of_peers() {
  std::string text;
#ifdef BENCHMARK_BOOST
  text += ", Boost " + std::to_string(BOOST_VERSION / 100000) + "." + std::to_string(BOOST_VERSION / 100 % 1000);
#endif
#ifdef BENCHMARK_ZEROMQ
  int major = 0, minor = 0, patch = 0;
  zmq_version(&major, &minor, &patch);
  text += ", ZeroMQ " + std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
#endif
  return text;
}

}  // namespace bench
