// A queue whose memory somebody has overwritten: errors, never a crash.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cofork/ipc/queue.hpp>
#include <cofork/ipc/writer.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace std::chrono_literals;
using cofork::ipc::Queue;

namespace {

/// This process's descriptor of a memory file with that name.
int memory_file(const std::string& name) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string target = std::filesystem::read_symlink(entry.path(), error).string();
    if (target.find(name) != std::string::npos) return std::stoi(entry.path().filename().string());
  }
  return -1;
}

void overwrite(int file, off_t begin, off_t length, std::mt19937_64& random) {
  const int words = 1 + static_cast<int>(random() % 200);
  for (int i = 0; i < words; ++i) {
    std::uint64_t word = random();
    // Often what might be a record.
    if (random() % 2) word = (random() % 4) << 48 | random() % 70'000;
    const off_t at = begin + static_cast<off_t>(random() % static_cast<std::uint64_t>(length / 8)) * 8;
    support::require(::pwrite(file, &word, sizeof word, at) == sizeof word, "pwrite");
  }
}

void use(const Queue<std::vector<std::string>>& queue) {
  for (int i = 0; i < 100; ++i) {
    try {
      if (i % 2) {
        queue.put_nowait({std::string(static_cast<std::size_t>(i * i), 'x')});
      } else {
        queue.get_nowait();
      }
      queue.qsize();
    } catch (const cofork::Error&) {
    } catch (const std::exception&) {
    }
  }
}

}  // namespace

TEST_CASE("a queue with garbage in its log throws and does not crash") {
  const auto child = support::in_child(
      [] {
        for (std::uint64_t seed = 0; seed < 400; ++seed) {
          std::mt19937_64 random(seed);
          const Queue<std::vector<std::string>> queue(seed % 2 ? 0 : 100);
          for (std::size_t i = 0; i < 30; ++i) queue.put_nowait({std::string(i * 37, 'a'), "b"});
          overwrite(memory_file("cofork-queue"), 65536, 30 * 600, random);
          use(queue);
        }
      },
      50s);
  INFO(child.output);
  CHECK(child.succeeded());
}

TEST_CASE("a queue whose positions are garbage throws and does not crash") {
  const auto child = support::in_child(
      [] {
        for (std::uint64_t seed = 0; seed < 400; ++seed) {
          std::mt19937_64 random(seed);
          const Queue<std::vector<std::string>> queue(seed % 2 ? 0 : 100);
          for (std::size_t i = 0; i < 30; ++i) queue.put_nowait({std::string(i * 37, 'a'), "b"});
          // The queue's own part is the last one. Its lock, in front of it, is the monitor's.
          const int file = memory_file("cofork-channel");
          const off_t size = ::lseek(file, 0, SEEK_END);
          overwrite(file, size - static_cast<off_t>(sizeof(cofork::detail::QueueMemory)) + 64,
                    static_cast<off_t>(sizeof(cofork::detail::QueueMemory)) - 64, random);
          use(queue);
        }
      },
      50s);
  INFO(child.output);
  CHECK(child.succeeded());
}
