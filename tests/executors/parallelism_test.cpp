#include <sched.h>

#include <cofork/executors/parallelism.hpp>
#include <fstream>
#include <string>
#include <thread>

#include "support/catch.hpp"

namespace fs = std::filesystem;

namespace {

/// A root directory with the files that the kernel shows to a process.
class Root {
 public:
  Root() { fs::create_directories(path_); }
  ~Root() { fs::remove_all(path_); }
  Root(const Root&) = delete;
  Root& operator=(const Root&) = delete;

  Root& file(const fs::path& name, const std::string& content) {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << content;
    return *this;
  }
  std::optional<double> quota() const { return cofork::detail::cgroup_cpu_quota(path_); }

 private:
  fs::path path_ = fs::temp_directory_path() / "root";
};

const char* const v2_mount = "30 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const char* const v1_mounts =
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "33 31 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n";

}  // namespace

TEST_CASE("without cgroups there is no quota") {
  Root root;
  CHECK(!root.quota());
  root.file("proc/self/cgroup", "0::/\n");
  CHECK(!root.quota());
  root.file("proc/self/mountinfo", v2_mount);
  CHECK(!root.quota());
}

TEST_CASE("a cgroup v2 has a quota of so much in a period") {
  Root root;
  root.file("proc/self/mountinfo", v2_mount).file("proc/self/cgroup", "0::/jobs/mine\n");
  root.file("sys/fs/cgroup/jobs/mine/cpu.max", "max 100000\n");
  CHECK(!root.quota());
  root.file("sys/fs/cgroup/jobs/mine/cpu.max", "150000 100000\n");
  CHECK(root.quota() == 1.5);
}

TEST_CASE("the smallest quota of a cgroup and those above it holds") {
  Root root;
  root.file("proc/self/mountinfo", v2_mount).file("proc/self/cgroup", "0::/a/b/c\n");
  root.file("sys/fs/cgroup/a/b/c/cpu.max", "400000 100000\n");
  root.file("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  root.file("sys/fs/cgroup/a/cpu.max", "300000 100000\n");
  CHECK(root.quota() == 3.0);
  root.file("sys/fs/cgroup/cpu.max", "50000 100000\n");
  CHECK(root.quota() == 0.5);
}

TEST_CASE("in a container the cgroup's own path may not be there") {
  Root root;
  root.file("proc/self/cgroup", "0::/docker/abc/inner\n");
  root.file("proc/self/mountinfo", "30 23 0:28 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
  root.file("sys/fs/cgroup/inner/cpu.max", "200000 100000\n");
  CHECK(root.quota() == 2.0);
  root.file("proc/self/cgroup", "0::/../elsewhere\n").file("sys/fs/cgroup/cpu.max", "100000 100000\n");
  CHECK(root.quota() == 1.0);
}

TEST_CASE("a cgroup v1 has its quota in the cpu hierarchy") {
  Root root;
  root.file("proc/self/mountinfo", v1_mounts).file("proc/self/cgroup", "5:cpuset:/other\n4:cpu,cpuacct:/mine\n0::/\n");
  root.file("sys/fs/cgroup/cpu,cpuacct/mine/cpu.cfs_period_us", "100000\n");
  root.file("sys/fs/cgroup/cpu,cpuacct/mine/cpu.cfs_quota_us", "-1\n");
  CHECK(!root.quota());
  root.file("sys/fs/cgroup/cpu,cpuacct/mine/cpu.cfs_quota_us", "250000\n");
  CHECK(root.quota() == 2.5);
}

TEST_CASE("nonsense in the cgroup files is no quota") {
  Root root;
  root.file("proc/self/mountinfo", "\n - \n1 2 3 4 - cgroup2 x\n" + std::string(v2_mount));
  root.file("proc/self/cgroup", "\n::\n0\n0::/mine\n");
  for (const char* nonsense : {"", "\n", "0 0\n", "100000 0\n", "-1 100000\n", "nan inf\n", "100000\n"}) {
    root.file("sys/fs/cgroup/mine/cpu.max", nonsense);
    CHECK(!root.quota());
  }
}

TEST_CASE("the available parallelism is at least one and at most the machine's") {
  CHECK(cofork::cpu_count() >= 1);
  CHECK(cofork::available_parallelism() >= 1);
  CHECK(cofork::available_parallelism() <= cofork::cpu_count());
}

TEST_CASE("the available parallelism follows the affinity mask") {
  unsigned counted = 0;
  std::thread([&] {
    cpu_set_t set;
    REQUIRE(sched_getaffinity(0, sizeof set, &set) == 0);
    int first = 0;
    while (!CPU_ISSET(first, &set)) ++first;
    CPU_ZERO(&set);
    CPU_SET(first, &set);
    REQUIRE(sched_setaffinity(0, sizeof set, &set) == 0);
    counted = cofork::available_parallelism();
  }).join();
  CHECK(counted == 1);
}
