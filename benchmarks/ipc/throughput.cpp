// Messages of several sizes, from one process or two to one other.
#include <string>

#include "measurements.hpp"
#include "processes.hpp"

namespace bench {

namespace {

std::string size_name(std::size_t size) {
  if (size < 1024) return std::to_string(size) + " B";
  if (size < 1024 * 1024) return std::to_string(size / 1024) + " KiB";
  return std::to_string(size / (1024 * 1024)) + " MiB";
}

void compare_channels(const Load& load, const std::string& placement, const Settings& settings, const Peer& peer) {
  Comparison comparison;
  comparison.title = "Messages of " + size_name(load.size) + ", " +
                     (load.producers == 1 ? "one producer" : "two producers") + ", " + placement;
  comparison.unit = "k messages/s";
  comparison.higher_is_better = true;
  comparison.conversion = {"MB/s", static_cast<double>(load.size) * 1e-3};
  comparison.contestants = contestants(load, &Channel::rate);
  for (Contestant& contestant : comparison.contestants) {
    if (contestant.role != Contestant::cofork) continue;
    if (load.size <= 256) contestant.aims.push_back({Aim::times_limit, 2});
    contestant.aims.push_back({Aim::times_peer, 1});
  }
  comparison.contestants.push_back(
      {"Python, multiprocessing.Queue", Contestant::python, [=, &peer] {
         return peer.run("throughput " + std::to_string(load.size) + " " + std::to_string(load.producers) + " " +
                         std::to_string(load.capacity()) + " " + std::to_string(load.seconds) + " " +
                         std::to_string(load.consumer_cpu) + " " + std::to_string(load.producer_cpu));
       }});
  compare(comparison, settings.rounds);
}

}  // namespace

std::vector<Contestant> contestants(const Load& load, double (*Channel::*measurement)(const Load&)) {
  std::vector<Contestant> all;
  for (const auto& channels : {raw_channels(load), installed_channels(load), library_channels(load)}) {
    for (const Channel& channel : channels) {
      double (*const measure)(const Load&) = channel.*measurement;
      Contestant contestant{channel.name, channel.role, [measure, load]() -> std::optional<double> {
                              if (!measure) return std::nullopt;
                              return in_child([&] { return measure(load); });
                            }};
      contestant.without = channel.without;
      all.push_back(contestant);
    }
  }
  return all;
}

void measure_throughput(const Settings& settings, const Peer& peer) {
  constexpr std::size_t sizes[] = {16, 256, 4096, 65536, 1024 * 1024};
  const double seconds = settings.quick ? 0.05 : 0.25;
  const auto cpus = two_cpus();
  for (const std::size_t size : sizes) {
    if (cpus)
      compare_channels({size, 1, seconds, cpus->first, cpus->second}, "on different cores", settings, peer);
    else
      compare_channels({size, 1, seconds}, "one CPU", settings, peer);
  }
  for (const std::size_t size : sizes) compare_channels({size, 2, seconds}, "unpinned", settings, peer);
}

}  // namespace bench
