#include "program.hpp"

#include <sys/utsname.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cofork/executors/parallelism.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <optional>
#include <vector>

namespace bench {

namespace {

struct Arguments {
  Settings settings;
  std::vector<Measurement> chosen;
};

bool is_count(std::string_view text, int& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && value > 0;
}

[[noreturn]] void usage(const char* program, std::initializer_list<Measurement> measurements) {
  std::string names;
  for (const Measurement& measurement : measurements) names += " [" + std::string(measurement.name) + "]";
  std::fprintf(stderr, "usage: %s [--quick] [--rounds N]%s\n", program, names.c_str());
  std::exit(2);
}

Arguments parse(int argc, char** argv, std::initializer_list<Measurement> measurements) {
  Arguments arguments;
  int rounds = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto* const found = std::find_if(measurements.begin(), measurements.end(),
                                           [&](const Measurement& measurement) { return measurement.name == word; });
    if (found != measurements.end()) {
      arguments.chosen.push_back(*found);
    } else if (word == "--quick") {
      arguments.settings.quick = true;
    } else if (word != "--rounds" || ++i == argc || !is_count(argv[i], rounds)) {
      usage(program_invocation_short_name, measurements);
    }
  }
  if (arguments.settings.quick) arguments.settings.rounds = 2;
  if (rounds != 0) arguments.settings.rounds = rounds;
  if (arguments.chosen.empty()) arguments.chosen = measurements;
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

void describe_machine(const Settings& settings, const Peer& peer, const std::string& also) {
  utsname system{};
  uname(&system);
  double load = 0;
  getloadavg(&load, 1);
  const unsigned cpus = cofork::available_parallelism();
  std::printf("%u CPUs (%s), %s %s\n", cpus, processor().c_str(), system.sysname, system.release);
  std::printf("%s%s, libuv %s, %s%s\n", compiler().c_str(),
#ifdef __OPTIMIZE__
              "",
#else
              " WITHOUT OPTIMISATION",
#endif
              uv_version_string(),
              peer.found() ? ("Python " + peer.version()).c_str() : "Python is missing: there is no python3",
              also.c_str());
  std::printf("%d rounds%s; load at the start %.2f%s\n", settings.rounds, settings.quick ? ", quick" : "", load,
              load > 0.5 * cpus ? ": others are busy here, and the figures not to be trusted" : "");
}

}  // namespace

int run_program(int argc, char** argv, std::initializer_list<Measurement> measurements, const std::string& also) {
  const Arguments arguments = parse(argc, argv, measurements);
  try {
    const Peer peer;
    describe_machine(arguments.settings, peer, also);
    for (const Measurement& measurement : arguments.chosen) measurement.run(arguments.settings, peer);
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, error.what());
    return 1;
  }
  return 0;
}

}  // namespace bench
