// pool [--quick] [--rounds N] [round_trip] [throughput] [map] [array]
//
// The process pool beside the limit, hand-written for the occasion, and beside Python's. See README.md in the folder
// above.
#include <sys/utsname.h>
#include <uv.h>

#include <algorithm>
#include <charconv>
#include <cofork/executors/parallelism.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "measurements.hpp"

namespace {

struct Measurement {
  std::string_view name;
  void (*run)(const bench::Settings&, const bench::Peer&);
};
constexpr Measurement measurements[] = {
    {"round_trip", bench::measure_round_trip},
    {"throughput", bench::measure_throughput},
    {"map", bench::measure_map},
    {"array", bench::measure_array},
};

struct Arguments {
  bench::Settings settings;
  std::vector<Measurement> chosen;
};

bool is_count(std::string_view text, int& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && value > 0;
}

[[noreturn]] void usage() {
  std::fprintf(stderr, "usage: pool [--quick] [--rounds N] [round_trip] [throughput] [map] [array]\n");
  std::exit(2);
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  int rounds = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto* const found = std::find_if(std::begin(measurements), std::end(measurements),
                                           [&](const Measurement& measurement) { return measurement.name == word; });
    if (found != std::end(measurements)) {
      arguments.chosen.push_back(*found);
    } else if (word == "--quick") {
      arguments.settings.quick = true;
    } else if (word != "--rounds" || ++i == argc || !is_count(argv[i], rounds)) {
      usage();
    }
  }
  if (arguments.settings.quick) arguments.settings.rounds = 2;
  if (rounds != 0) arguments.settings.rounds = rounds;
  if (arguments.chosen.empty()) arguments.chosen.assign(std::begin(measurements), std::end(measurements));
  return arguments;
}

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (const auto colon = line.find(": "); line.starts_with("model name") && colon != line.npos)
      return line.substr(colon + 2);
  return "unknown processor";
}

std::string compiler() {
#ifdef __clang__
  return "clang++ " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

void describe_machine(const bench::Settings& settings, const bench::Peer& peer) {
  utsname system{};
  uname(&system);
  double load = 0;
  getloadavg(&load, 1);
  const unsigned cpus = cofork::available_parallelism();
  std::printf("%u CPUs (%s), %s %s\n", cpus, processor().c_str(), system.sysname, system.release);
  std::printf("%s%s, libuv %s, %s\n", compiler().c_str(),
#ifdef __OPTIMIZE__
              "",
#else
              " WITHOUT OPTIMISATION",
#endif
              uv_version_string(),
              peer.found() ? ("Python " + peer.version()).c_str() : "Python is missing: there is no python3");
  std::printf("%d rounds%s; load at the start %.2f%s\n", settings.rounds, settings.quick ? ", quick" : "", load,
              load > 0.5 * cpus ? ": others are busy here, and the figures not to be trusted" : "");
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  try {
    const bench::Peer peer;
    describe_machine(arguments.settings, peer);
    for (const Measurement& measurement : arguments.chosen) measurement.run(arguments.settings, peer);
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "pool: %s\n", error.what());
    return 1;
  }
}
