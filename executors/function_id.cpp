#include "function_id.hpp"

#include <fmt/format.h>
#include <link.h>

#include <cofork/executors/symbols.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <vector>

namespace cofork::detail {

namespace {

/// One executable segment.
struct Code {
  std::uint64_t module;
  std::uintptr_t base;
  std::uintptr_t begin;
  std::uintptr_t end;

  bool contains(std::uintptr_t address) const { return begin <= address && address < end; }
};

/// Counts what the dynamic linker has loaded and unloaded.
struct Generation {
  unsigned long long loads = 0;
  unsigned long long unloads = 0;

  friend bool operator==(const Generation&, const Generation&) = default;
};

struct Modules {
  Generation generation;
  std::vector<Code> codes;  ///< The program's own first.
};

class Hash {
 public:
  void add(const void* data, std::size_t size) {
    const auto* const bytes = static_cast<const unsigned char*>(data);
    for (std::size_t i = 0; i < size; ++i) value_ = (value_ ^ bytes[i]) * 0x100000001b3;
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325;
};

bool is_loaded(std::span<const ElfW(Phdr)> headers, const ElfW(Phdr) & part) {
  for (const auto& header : headers) {
    if (header.p_type == PT_LOAD && (header.p_flags & PF_R) && header.p_vaddr <= part.p_vaddr &&
        part.p_vaddr + part.p_memsz <= header.p_vaddr + header.p_memsz) {
      return true;
    }
  }
  return false;
}

/// The path alone would not tell a library from the one that has been built anew and loaded in its place.
std::uint64_t key(const dl_phdr_info& info) {
  const std::span headers(info.dlpi_phdr, info.dlpi_phnum);
  Hash hash;
  if (info.dlpi_name) hash.add(info.dlpi_name, std::strlen(info.dlpi_name));
  for (const auto& header : headers) {
    if (header.p_type == PT_LOAD) {
      hash.add(&header.p_vaddr, sizeof header.p_vaddr);
      hash.add(&header.p_memsz, sizeof header.p_memsz);
      hash.add(&header.p_flags, sizeof header.p_flags);
    } else if (header.p_type == PT_NOTE && is_loaded(headers, header)) {
      hash.add(reinterpret_cast<const void*>(info.dlpi_addr + header.p_vaddr), header.p_memsz);
    }
  }
  return hash.value();
}

Generation generation_of(const dl_phdr_info& info) { return {info.dlpi_adds, info.dlpi_subs}; }

Generation current_generation() {
  Generation generation;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* to) {
        *static_cast<Generation*>(to) = generation_of(*info);
        return 1;
      },
      &generation);
  return generation;
}

Modules list_modules() {
  Modules modules;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* to) {
        auto& [generation, codes] = *static_cast<Modules*>(to);
        generation = generation_of(*info);
        const std::uint64_t module = key(*info);
        for (const auto& header : std::span(info->dlpi_phdr, info->dlpi_phnum)) {
          if (header.p_type != PT_LOAD || !(header.p_flags & PF_X)) continue;
          const std::uintptr_t begin = info->dlpi_addr + header.p_vaddr;
          codes.push_back({module, info->dlpi_addr, begin, begin + header.p_memsz});
        }
        return 0;
      },
      &modules);
  return modules;
}

/// What this thread knows to be loaded; a lock would be in the way of a fork.
Modules& known_modules() {
  thread_local Modules modules = list_modules();
  return modules;
}

const Code* find_code(std::span<const Code> codes, std::uintptr_t address) {
  for (const Code& code : codes) {
    if (code.contains(address)) return &code;
  }
  return nullptr;
}

FunctionId id_in(const Code& code, std::uintptr_t address) { return {code.module, address - code.base}; }

AnyFunction find_function(std::span<const Code> codes, const FunctionId& id) {
  for (const Code& code : codes) {
    if (code.module == id.module && code.contains(code.base + id.offset)) {
      return reinterpret_cast<AnyFunction>(code.base + id.offset);
    }
  }
  return nullptr;
}

}  // namespace

FunctionId identify(AnyFunction function) {
  const auto address = reinterpret_cast<std::uintptr_t>(function);
  Modules& known = known_modules();
  // The program itself is never unloaded.
  if (!known.codes.empty() && known.codes.front().contains(address)) return id_in(known.codes.front(), address);
  if (current_generation() != known.generation) known = list_modules();
  const Code* const code = find_code(known.codes, address);
  if (!code) {
    throw std::invalid_argument(fmt::format(
        "a worker cannot run the function at {:#x}: it is in no executable segment of a loaded program or library",
        address));
  }
  return id_in(*code, address);
}

AnyFunction resolve(const FunctionId& id) {
  Modules& known = known_modules();
  if (const AnyFunction function = find_function(known.codes, id)) return function;
  if (current_generation() != known.generation) known = list_modules();
  if (const AnyFunction function = find_function(known.codes, id)) return function;
  throw DecodeError(
      "the function is not in this worker: it is in a library that was loaded after the pool's template process was "
      "forked. Load the library before the pool starts");
}

void remember_modules() {
  Modules& known = known_modules();
  if (current_generation() != known.generation) known = list_modules();
}

std::string function_name(AnyFunction function) {
  const auto address = reinterpret_cast<std::uintptr_t>(function);
  std::string name = function_at(address);
  return name.empty() ? fmt::format("function at {:#x}", address) : name;
}

std::string type_name(const std::type_info& type) { return demangle(type.name()); }

}  // namespace cofork::detail
