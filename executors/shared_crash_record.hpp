// A crash record of its own for one child that is about to be forked.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <cofork/ipc/crash_record.hpp>
#include <new>
#include <system_error>

namespace cofork::detail {

/// Memory that this process shares with what it forks while this lives. It takes a page once something is written.
class SharedCrashRecord {
 public:
  SharedCrashRecord() {
    void* const memory =
        ::mmap(nullptr, sizeof(ipc::CrashRecord), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    record_ = static_cast<ipc::CrashRecord*>(memory);
  }
  SharedCrashRecord(const SharedCrashRecord&) = delete;
  SharedCrashRecord& operator=(const SharedCrashRecord&) = delete;
  ~SharedCrashRecord() { ::munmap(record_, sizeof *record_); }

  ipc::CrashRecord& get() const noexcept { return *record_; }

 private:
  ipc::CrashRecord* record_;
};

}  // namespace cofork::detail
