#include "support/leaks.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <thread>

namespace support {
namespace {

namespace fs = std::filesystem;

constexpr const char* marker = "COFORK_TEST_DIRECTORY";

// Empty if there is no such file, or no longer: that of a process that has just ended fails while it is read.
std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  try {
    return std::string(std::istreambuf_iterator<char>(file), {});
  } catch (const std::ios_base::failure&) {
    return {};
  }
}

std::vector<std::string> sorted(std::vector<std::string> lines) {
  std::ranges::sort(lines);
  return lines;
}

std::vector<std::string> entries_of(const fs::path& directory) {
  std::vector<std::string> result;
  std::error_code ignored;
  for (fs::directory_iterator entry(directory, ignored), end; !ignored && entry != end; entry.increment(ignored))
    result.push_back(entry->path().string());
  return sorted(std::move(result));
}

std::vector<std::string> open_descriptors() {
  std::vector<std::string> result;
  for (const auto& path : entries_of("/proc/self/fd")) {
    std::error_code gone;
    const auto target = fs::read_symlink(path, gone);
    // The descriptor that the listing itself used is closed by now.
    if (!gone) result.push_back("descriptor " + fs::path(path).filename().string() + " -> " + target.string());
  }
  return sorted(std::move(result));
}

struct ProcessStatus {
  std::string name;
  char state = '?';
  pid_t parent = 0;
};

// "pid (name) state parent ...", where the name may contain anything.
ProcessStatus status_of(const fs::path& process) {
  const std::string text = read_text(process / "stat");
  const auto open = text.find('('), close = text.rfind(") ");
  if (open == std::string::npos || close == std::string::npos) return {};
  return {text.substr(open + 1, close - open - 1), text[close + 2], std::atoi(text.c_str() + close + 4)};
}

// Children by their parent, zombies included; further descendants, whoever has adopted them, by the environment that
// they were born with.
std::vector<std::string> other_processes_of_ours() {
  const pid_t self = getpid();
  const std::string mark = std::string(marker) + "=" + std::getenv(marker);
  std::vector<std::string> result;
  for (const auto& path : entries_of("/proc")) {
    const auto pid = std::atoi(fs::path(path).filename().c_str());
    if (pid == 0 || pid == self) continue;
    const ProcessStatus status = status_of(path);
    const bool child = status.parent == self;
    if (!child && read_text(fs::path(path) / "environ").find(mark) == std::string::npos) continue;
    result.push_back(std::string(child ? "child" : "descendant") + " process " + std::to_string(pid) + " (" +
                     status.name + ")" + (status.state == 'Z' ? ", a zombie" : ""));
  }
  return sorted(std::move(result));
}

std::vector<std::string> shared_memory_maps() {
  std::vector<std::string> result;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("memfd:") != std::string::npos) result.push_back("memory map " + line);
  }
  return sorted(std::move(result));
}

void append_added(std::vector<std::string>& result, const std::vector<std::string>& before,
                  const std::vector<std::string>& now) {
  std::ranges::set_difference(now, before, std::back_inserter(result));
}

}  // namespace

void isolate_process(char** argv) {
  const auto set = [](const char* name, const std::string& value) {
    if (setenv(name, value.c_str(), 1) != 0) throw std::system_error(errno, std::generic_category(), "setenv");
  };
  if (const char* directory = std::getenv(marker)) {
    // Ours only if this very process made it: a test program that a test starts makes its own, below ours.
    if (fs::path(directory).filename().string().starts_with("cofork-test-" + std::to_string(getpid()) + "-")) {
      set("TMPDIR", directory);
      return;
    }
  }
  std::string directory = fs::temp_directory_path() / ("cofork-test-" + std::to_string(getpid()) + "-XXXXXX");
  if (!mkdtemp(directory.data())) throw std::system_error(errno, std::generic_category(), "mkdtemp " + directory);
  set(marker, directory);
  // Only the environment given to exec shows in /proc/PID/environ.
  const std::string program = fs::read_symlink("/proc/self/exe").string();
  execv(program.c_str(), argv);
  throw std::system_error(errno, std::generic_category(), "execv " + program);
}

void remove_temporary_directory() {
  std::error_code ignored;
  if (const char* directory = std::getenv(marker)) fs::remove_all(directory, ignored);
}

Resources Resources::now() {
  Resources result;
  result.descriptors_ = open_descriptors();
  result.processes_ = other_processes_of_ours();
  result.memory_maps_ = shared_memory_maps();
  result.shared_memory_ = entries_of("/dev/shm");
  result.temporary_files_ = entries_of(std::getenv(marker));
  return result;
}

std::vector<std::string> Resources::added_since(const Resources& before) const {
  std::vector<std::string> result;
  append_added(result, before.descriptors_, descriptors_);
  append_added(result, before.processes_, processes_);
  append_added(result, before.memory_maps_, memory_maps_);
  append_added(result, before.shared_memory_, shared_memory_);
  append_added(result, before.temporary_files_, temporary_files_);
  return result;
}

std::vector<std::string> leaks_since(const Resources& before) {
  // Only what this process cannot be waiting for itself may still change: a killed grandchild on its way out, an entry
  // that some other program has in /dev/shm.
  // Counted in looks, about five seconds of them: time that passes while nobody runs here is not theirs either.
  for (int left = 500;; --left) {
    auto leaks = Resources::now().added_since(before);
    const bool may_pass = std::ranges::all_of(leaks, [](const std::string& leak) {
      return leak.starts_with("descendant process") || leak.starts_with("/dev/shm/");
    });
    if (leaks.empty() || !may_pass || left == 0) return leaks;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace support
