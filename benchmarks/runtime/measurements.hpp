// What the program measures. Each prints its tables.
#pragma once

#include "peer.hpp"
#include "program.hpp"

namespace bench {

void measure_spawn_program(const Settings& settings, const Peer& peer);

}  // namespace bench
