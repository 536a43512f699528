// What the tests of Process have in common.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cofork/executors/process.hpp>
#include <cofork/ipc/descriptor.hpp>
#include <cofork/runtime/run.hpp>
#include <new>
#include <string>
#include <utility>

#include "support/catch.hpp"
#include "support/forked.hpp"

namespace process_test {

/// A `T` in memory that this process shares with those forked from it.
template <class T>
class Shared {
 public:
  Shared() : value_(new (::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) T()) {}
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { ::munmap(value_, sizeof(T)); }
  T& operator*() const { return *value_; }
  T* operator->() const { return value_; }

 private:
  T* value_;
};

/// A pipe that every child has: its descriptors are not close-on-exec.
class OpenPipe {
 public:
  OpenPipe() {
    std::array<int, 2> ends = {-1, -1};
    if (::pipe(ends.data()) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    reader.reset(ends[0]);
    writer.reset(ends[1]);
  }
  void write(const std::string& text) const {
    if (::write(writer.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) ::_exit(99);
  }
  /// Up to `size` bytes, fewer at the end.
  std::string read(std::size_t size) const {
    std::string text(size, '\0');
    std::size_t got = 0;
    while (got < size) {
      const ssize_t n = ::read(reader.get(), text.data() + got, size - got);
      if (n <= 0) break;
      got += static_cast<std::size_t>(n);
    }
    text.resize(got);
    return text;
  }

  cofork::ipc::Descriptor reader, writer;
};

/// Starts and joins it, and tells its exitcode.
inline int exitcode_of(cofork::Process& process) {
  process.start();
  process.blocking_join();
  return process.exitcode().value();
}

template <class F, class... A>
int exitcode_of_target(F target, A... arguments) {
  cofork::Process process(std::move(target), std::move(arguments)...);
  return exitcode_of(process);
}

inline void wait_for_ever() {
  while (true) ::pause();
}

}  // namespace process_test
