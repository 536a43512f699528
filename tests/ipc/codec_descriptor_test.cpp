#include <fcntl.h>
#include <unistd.h>

#include <cofork/ipc/codec.hpp>
#include <cofork/runtime/errors.hpp>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using namespace cofork;
using namespace cofork::ipc;

namespace {

std::pair<Descriptor, Descriptor> make_pipe() {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

}  // namespace

TEST_CASE("a descriptor travels beside the bytes and works where it arrives") {
  auto [input, output] = make_pipe();
  BufferWriter writer;
  encode(writer, std::pair<int, Descriptor>(7, std::move(output)));
  std::vector<Descriptor> luggage = std::move(writer.descriptors());
  REQUIRE(luggage.size() == 1);
  CHECK((::fcntl(luggage[0].get(), F_GETFD) & FD_CLOEXEC) != 0);
  Reader reader(writer.message(), luggage);
  const auto arrived = decode<std::pair<int, Descriptor>>(reader);
  reader.finish();
  CHECK(arrived.first == 7);
  CHECK(::write(arrived.second.get(), "x", 1) == 1);
  char byte = 0;
  CHECK(::read(input.get(), &byte, 1) == 1);
  CHECK(byte == 'x');
  CHECK_FALSE(luggage[0].valid());
}

TEST_CASE("descriptors arrive in the order in which they were sent") {
  auto [first_in, first_out] = make_pipe();
  auto [second_in, second_out] = make_pipe();
  BufferWriter writer;
  std::vector<Descriptor> outputs;
  outputs.push_back(std::move(first_out));
  outputs.push_back(std::move(second_out));
  encode(writer, outputs);
  Reader reader(writer.message(), writer.descriptors());
  const auto arrived = decode<std::vector<Descriptor>>(reader);
  REQUIRE(arrived.size() == 2);
  CHECK(::write(arrived[1].get(), "2", 1) == 1);
  char byte = 0;
  CHECK(::read(second_in.get(), &byte, 1) == 1);
  CHECK(byte == '2');
}

TEST_CASE("a descriptor that is not valid arrives as one that is not") {
  BufferWriter writer;
  encode(writer, Descriptor());
  CHECK(writer.descriptors().empty());
  Reader reader(writer.message());
  CHECK_FALSE(decode<Descriptor>(reader).valid());
}

TEST_CASE("a message whose descriptor did not come is a DecodeError") {
  auto [input, output] = make_pipe();
  BufferWriter writer;
  encode(writer, input);
  Reader reader(writer.message());
  CHECK_THROWS_AS(decode<Descriptor>(reader), DecodeError);
}

TEST_CASE("a descriptor that cannot be duplicated is a system_error") {
  auto [input, output] = make_pipe();
  const int closed = input.release();
  ::close(closed);
  BufferWriter writer;
  CHECK_THROWS_AS(writer.descriptor(closed), std::system_error);
}

TEST_CASE("clearing a writer closes the descriptors that nobody took") {
  auto [input, output] = make_pipe();
  BufferWriter writer;
  writer.descriptor(input.get());
  const int copy = writer.descriptors().at(0).get();
  CHECK(is_open(copy));
  writer.clear();
  CHECK_FALSE(is_open(copy));
}

TEST_CASE("a descriptor is closed by its last owner") {
  auto [input, output] = make_pipe();
  const int fd = input.get();
  Descriptor moved = std::move(input);
  CHECK_FALSE(input.valid());
  CHECK(moved.get() == fd);
  output = std::move(moved);
  CHECK(output.get() == fd);
  CHECK(is_open(fd));
  output.reset();
  CHECK_FALSE(is_open(fd));
}
