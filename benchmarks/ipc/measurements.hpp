// What the program measures. Each prints its tables.
#pragma once

#include <string>
#include <vector>

#include "compare.hpp"
#include "load.hpp"
#include "peer.hpp"
#include "program.hpp"

namespace bench {

void measure_throughput(const Settings& settings, const Peer& peer);
void measure_round_trip(const Settings& settings, const Peer& peer);
void measure_process(const Settings& settings, const Peer& peer);

/// Channels that all carry the same load.
struct Channel {
  Contestant::Role role;
  std::string name;
  /// For a pair of processes; each is run in a process of its own. Empty if the channel is not there.
  double (*rate)(const Load&) = nullptr;   ///< k messages/s
  double (*trips)(const Load&) = nullptr;  ///< us
  std::string without = "not installed";
};

std::vector<Channel> library_channels(const Load& load);
std::vector<Channel> raw_channels(const Load& load);
std::vector<Channel> installed_channels(const Load& load);
/// Those of `installed_channels`.
std::string versions_of_peers();

std::vector<Contestant> contestants(const Load& load, double (*Channel::*measurement)(const Load&));

}  // namespace bench
