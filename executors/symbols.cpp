#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cofork/executors/symbols.hpp>
#include <cofork/ipc/descriptor.hpp>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>

namespace cofork::detail {

namespace {

constexpr std::size_t most_known_addresses = 4096;

/// A module's file, mapped. What it says is checked: it may be another file than the one that was loaded.
class ElfFile {
 public:
  explicit ElfFile(const char* path) {
    const ipc::Descriptor file(::open(path, O_RDONLY | O_CLOEXEC));
    struct stat status = {};
    if (!file.valid() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_size <= 0) return;
    const auto size = static_cast<std::size_t>(status.st_size);
    void* const memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (memory != MAP_FAILED) bytes_ = {static_cast<const std::byte*>(memory), size};
  }
  ElfFile(const ElfFile&) = delete;
  ~ElfFile() {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }

  /// Null unless `count` objects are there.
  template <class T>
  const T* at(std::uint64_t offset, std::uint64_t count = 1) const {
    if (offset > bytes_.size() || count > (bytes_.size() - offset) / sizeof(T) || offset % alignof(T) != 0)
      return nullptr;
    return reinterpret_cast<const T*>(bytes_.data() + offset);
  }

  /// Whether it is what lies at `base`, as far as its headers tell.
  bool is_loaded_at(const void* base) const {
    const auto* const header = at<ElfW(Ehdr)>(0);
    if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return false;
    if (header->e_phentsize != sizeof(ElfW(Phdr))) return false;
    const auto* const parts = at<ElfW(Phdr)>(header->e_phoff, header->e_phnum);
    if (!parts || std::memcmp(header, base, sizeof *header) != 0) return false;
    // The first part that is loaded holds both headers in all that linkers make.
    for (const auto& part : std::span(parts, header->e_phnum)) {
      if (part.p_type != PT_LOAD) continue;
      const std::size_t size = header->e_phnum * sizeof part;
      return part.p_offset == 0 && header->e_phoff + size <= part.p_filesz &&
             std::memcmp(parts, static_cast<const std::byte*>(base) + header->e_phoff, size) == 0;
    }
    return false;
  }

  /// The function of the symbol table that holds an address, which is given as one of the file's own.
  struct Symbol {
    const char* name;
    std::uint64_t offset;
  };
  std::optional<Symbol> find(std::uint64_t address) const {
    const auto& header = *at<ElfW(Ehdr)>(0);
    const auto* const sections = at<ElfW(Shdr)>(header.e_shoff, header.e_shnum);
    if (!sections || header.e_shentsize != sizeof(ElfW(Shdr))) return std::nullopt;
    for (const auto& section : std::span(sections, header.e_shnum)) {
      if (section.sh_type != SHT_SYMTAB || section.sh_link >= header.e_shnum) continue;
      const auto& names = sections[section.sh_link];
      const auto count = section.sh_size / sizeof(ElfW(Sym));
      const auto* const symbols = at<ElfW(Sym)>(section.sh_offset, count);
      const char* const text = at<char>(names.sh_offset, names.sh_size);
      if (!symbols || !text || names.sh_size == 0 || text[names.sh_size - 1] != '\0') continue;
      for (const auto& symbol : std::span(symbols, count)) {
        if ((symbol.st_info & 0xf) != STT_FUNC || symbol.st_name >= names.sh_size) continue;
        if (symbol.st_value <= address && address - symbol.st_value < symbol.st_size)
          return Symbol{text + symbol.st_name, address - symbol.st_value};
      }
    }
    return std::nullopt;
  }

  /// The file's own address of what is loaded lowest.
  std::uint64_t lowest() const {
    const auto& header = *at<ElfW(Ehdr)>(0);
    std::uint64_t lowest = std::numeric_limits<std::uint64_t>::max();
    for (const auto& part : std::span(at<ElfW(Phdr)>(header.e_phoff, header.e_phnum), header.e_phnum))
      if (part.p_type == PT_LOAD) lowest = std::min<std::uint64_t>(lowest, part.p_vaddr - part.p_offset);
    return lowest;
  }

 private:
  std::span<const std::byte> bytes_;
};

bool is_program(const void* base) {
  Dl_info info;
  return ::dladdr(reinterpret_cast<const void*>(::getauxval(AT_PHDR)), &info) != 0 && info.dli_fbase == base;
}

std::string program_name() {
  std::array<char, 4096> path;
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  return size > 0 ? std::string(path.data(), static_cast<std::size_t>(size)) : "program";
}

/// An address, in words.
struct Place {
  std::string function;  // demangled; empty: not known
  std::uint64_t in_function = 0;
  std::string module;  // empty: none
  std::uint64_t in_module = 0;
};

Place find_place(std::uintptr_t address) {
  Place place;
  Dl_info info;
  if (::dladdr(reinterpret_cast<const void*>(address), &info) == 0 || !info.dli_fname) return place;
  const bool program = is_program(info.dli_fbase);
  place.module = program ? program_name() : info.dli_fname;
  place.module.erase(0, place.module.rfind('/') + 1);
  place.in_module = address - reinterpret_cast<std::uintptr_t>(info.dli_fbase);

  const ElfFile file(program ? "/proc/self/exe" : info.dli_fname);
  std::optional<ElfFile::Symbol> symbol;
  if (file.is_loaded_at(info.dli_fbase)) {
    place.in_module += file.lowest();
    symbol = file.find(place.in_module);
  }
  if (!symbol && info.dli_sname)
    symbol = ElfFile::Symbol{info.dli_sname, address - reinterpret_cast<std::uintptr_t>(info.dli_saddr)};
  if (symbol) {
    place.function = demangle(symbol->name);
    place.in_function = symbol->offset;
  }
  return place;
}

/// Changes when a module is loaded or unloaded.
unsigned long long generation() {
  unsigned long long changes = 0;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* to) {
        *static_cast<unsigned long long*>(to) = info->dlpi_adds + info->dlpi_subs;
        return 1;
      },
      &changes);
  return changes;
}

const Place& known_place(std::uintptr_t address) {
  struct Known {
    unsigned long long generation = 0;
    std::unordered_map<std::uintptr_t, Place> places;
  };
  thread_local Known known;
  if (const auto now = generation(); now != known.generation || known.places.size() >= most_known_addresses)
    known = {now, {}};
  const auto found = known.places.find(address);
  return found != known.places.end() ? found->second : known.places.emplace(address, find_place(address)).first->second;
}

}  // namespace

std::string describe_address(std::uintptr_t address) {
  const Place& place = known_place(address);
  if (place.module.empty()) return fmt::format("{:#x}", address);
  if (place.function.empty()) return fmt::format("{}+{:#x}", place.module, place.in_module);
  return fmt::format("{} +{:#x} ({}+{:#x})", place.function, place.in_function, place.module, place.in_module);
}

std::string function_at(std::uintptr_t address) {
  const Place& place = known_place(address);
  return place.in_function == 0 ? place.function : std::string();
}

std::string demangle(const char* name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> demangled(abi::__cxa_demangle(name, nullptr, nullptr, &status),
                                                              &std::free);
  return status == 0 && demangled ? demangled.get() : name;
}

}  // namespace cofork::detail
