// What the program measures. Each prints its tables.
#pragma once

#include "peer.hpp"
#include "program.hpp"

namespace bench {

void measure_snapshot_map(const Settings& settings, const Peer& peer);
void measure_trace_cost(const Settings& settings, const Peer& peer);
void measure_worker_start(const Settings& settings, const Peer& peer);

}  // namespace bench
