// What the program measures. Each prints its tables.
#pragma once

#include "peer.hpp"

namespace bench {

struct Settings {
  int rounds = 7;
  /// Less of everything: enough to see that it works.
  bool quick = false;
};

void measure_round_trip(const Settings& settings, const Peer& peer);
void measure_throughput(const Settings& settings, const Peer& peer);
void measure_map(const Settings& settings, const Peer& peer);
void measure_array(const Settings& settings, const Peer& peer);

}  // namespace bench
