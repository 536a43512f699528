// What the program measures. Each prints its figures.
#pragma once

#include "peer.hpp"
#include "program.hpp"

namespace bench {

void measure_trace_cost(const Settings& settings, const Peer& peer);

}  // namespace bench
