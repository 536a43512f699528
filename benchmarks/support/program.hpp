// What the programs with tables have in common: options, the machine, and which measurements are made.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "peer.hpp"

namespace bench {

struct Settings {
  int rounds = 7;
  /// Less of everything: enough to see that it works.
  bool quick = false;
};

struct Measurement {
  std::string_view name;
  void (*run)(const Settings&, const Peer&);
};

/// For `main`: makes the measurements that the arguments name, or all. `also` is told with the machine.
int run_program(int argc, char** argv, std::initializer_list<Measurement> measurements, const std::string& also = {});

}  // namespace bench
