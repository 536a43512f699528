#include "parallelism.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

namespace cofork {

namespace {

namespace fs = std::filesystem;

/// The CPUs in the calling thread's affinity mask.
std::optional<unsigned> affinity_count() {
  for (std::size_t cpus = 1024; cpus <= (std::size_t{1} << 20); cpus *= 2) {
    std::vector<cpu_set_t> set(CPU_ALLOC_SIZE(cpus) / sizeof(cpu_set_t));
    const std::size_t bytes = set.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, set.data()) == 0) return static_cast<unsigned>(CPU_COUNT_S(bytes, set.data()));
    if (errno != EINVAL) break;  // EINVAL: the kernel's masks are larger
  }
  return std::nullopt;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

bool lists_cpu(const std::string& controllers) {
  const auto names = split(controllers, ',');
  return std::find(names.begin(), names.end(), "cpu") != names.end();
}

/// A cgroup hierarchy that has the CPU controller, or may have it.
struct Hierarchy {
  bool v2;
  std::string root;   ///< which cgroup is to be seen at the mount point
  std::string mount;  ///< the mount point
};

/// Lines such as "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:1 - cgroup cgroup rw,cpu".
std::vector<Hierarchy> mounted_hierarchies(const fs::path& root) {
  std::vector<Hierarchy> hierarchies;
  std::ifstream mounts(root / "proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const auto fields = split(line, ' ');
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 5 || fields.end() - dash < 4) continue;
    const bool v2 = dash[1] == "cgroup2";
    if (v2 || (dash[1] == "cgroup" && lists_cpu(dash[3]))) hierarchies.push_back({v2, fields[3], fields[4]});
  }
  return hierarchies;
}

/// This process's cgroup in the hierarchy. Lines such as "0::/user.slice" (v2) and "4:cpu,cpuacct:/user.slice" (v1).
std::optional<std::string> own_cgroup(const fs::path& root, bool v2) {
  std::ifstream cgroups(root / "proc/self/cgroup");
  for (std::string line; std::getline(cgroups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (v2 ? line.starts_with("0::") : lists_cpu(controllers)) return line.substr(second + 1);
  }
  return std::nullopt;
}

std::optional<double> read_number(const fs::path& file) {
  std::ifstream stream(file);
  double number;
  if (stream >> number) return number;
  return std::nullopt;
}

/// The quota of one cgroup alone.
std::optional<double> quota_of(const fs::path& directory, bool v2) {
  std::optional<double> quota, period;
  if (v2) {
    std::ifstream stream(directory / "cpu.max");
    double first, second;
    if (stream >> first >> second) quota = first, period = second;  // "max 100000" is no limit, and no number
  } else {
    quota = read_number(directory / "cpu.cfs_quota_us");
    period = read_number(directory / "cpu.cfs_period_us");
  }
  if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;  // v1: -1 is no limit
  return *quota / *period;
}

/// The part of `cgroup` below `top`; empty if it is `top`, or is not below it, as seen from a container.
fs::path below(const std::string& cgroup, const std::string& top) {
  const fs::path relative = fs::path(cgroup).lexically_relative(top);
  if (relative.empty() || *relative.begin() == ".." || relative == ".") return {};
  return relative;
}

}  // namespace

namespace detail {

std::optional<double> cgroup_cpu_quota(const fs::path& root) {
  std::optional<double> smallest;
  for (const auto& [v2, top, mount] : mounted_hierarchies(root)) {
    const auto cgroup = own_cgroup(root, v2);
    if (!cgroup) continue;
    const fs::path mounted = root / fs::path(mount).relative_path();
    for (fs::path path = below(*cgroup, top);; path = path.parent_path()) {
      if (const auto quota = quota_of(mounted / path, v2)) {
        smallest = std::min(*quota, smallest.value_or(std::numeric_limits<double>::infinity()));
      }
      if (path.empty()) break;
    }
  }
  return smallest;
}

}  // namespace detail

unsigned cpu_count() {
  const long count = sysconf(_SC_NPROCESSORS_ONLN);
  return count > 0 ? static_cast<unsigned>(count) : 1;
}

unsigned available_parallelism() {
  const unsigned cpus = std::max(affinity_count().value_or(cpu_count()), 1u);
  const auto quota = detail::cgroup_cpu_quota();
  if (!quota || *quota >= cpus) return cpus;
  return std::max(static_cast<unsigned>(std::ceil(*quota)), 1u);
}

}  // namespace cofork
