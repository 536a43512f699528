// A message there and back, one at a time.
#include <cstdio>
#include <string>

#include "measurements.hpp"
#include "processes.hpp"

namespace bench {

namespace {

void compare_placed(const std::string& placement, int cpu, int partner_cpu, const Settings& settings,
                    const Peer& peer) {
  const Load load{16, 1, settings.quick ? 0.05 : 0.25, cpu, partner_cpu};
  Comparison comparison;
  comparison.title = "Round trip of 16 B, " + placement;
  comparison.unit = "us";
  comparison.contestants = contestants(load, &Channel::trips);
  for (Contestant& contestant : comparison.contestants)
    if (contestant.role == Contestant::cofork) contestant.aims = {{Aim::times_limit, 2}, {Aim::times_peer, 1}};
  comparison.contestants.push_back({"Python, multiprocessing.Queue", Contestant::python, [=, &peer] {
                                      return peer.run("round_trip " + std::to_string(load.seconds) + " " +
                                                      std::to_string(cpu) + " " + std::to_string(partner_cpu));
                                    }});
  compare(comparison, settings.rounds);
}

}  // namespace

void measure_round_trip(const Settings& settings, const Peer& peer) {
  compare_placed("unpinned", -1, -1, settings, peer);
  const auto cpus = two_cpus();
  if (!cpus) {
    std::printf("\nRound trips with pinned ends are left out: there is only one CPU.\n");
    return;
  }
  compare_placed("both ends on one core", cpus->first, cpus->first, settings, peer);
  compare_placed("on different cores", cpus->first, cpus->second, settings, peer);
}

}  // namespace bench
