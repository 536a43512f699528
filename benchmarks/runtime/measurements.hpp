// What the program measures. Each prints its tables.
#pragma once

#include "peer.hpp"
#include "program.hpp"

namespace bench {

void measure_leaf(const Settings& settings, const Peer& peer);
void measure_chain(const Settings& settings, const Peer& peer);
void measure_yield(const Settings& settings, const Peer& peer);
void measure_spawn(const Settings& settings, const Peer& peer);
void measure_timers(const Settings& settings, const Peer& peer);
void measure_post(const Settings& settings, const Peer& peer);
void measure_spawn_program(const Settings& settings, const Peer& peer);

}  // namespace bench
