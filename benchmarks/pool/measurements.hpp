// What the program measures. Each prints its tables.
#pragma once

#include "peer.hpp"
#include "program.hpp"

namespace bench {

void measure_round_trip(const Settings& settings, const Peer& peer);
void measure_throughput(const Settings& settings, const Peer& peer);
void measure_map(const Settings& settings, const Peer& peer);
void measure_array(const Settings& settings, const Peer& peer);

}  // namespace bench
