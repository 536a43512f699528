#include "micro.hpp"

#include <optional>
#include <utility>

#include "processes.hpp"

namespace bench {

Contestant contestant(std::string name, Contestant::Role role, Measure measure, const Work& work,
                      std::vector<Aim> aims) {
  const auto run = [measure, work]() -> std::optional<double> {
    if (!measure) return std::nullopt;
    return in_child([&] { return measure(work); });
  };
  return {std::move(name), role, run, std::move(aims), "not installed, or without coroutines for this compiler"};
}

void compare_micro(std::string title, std::vector<Contestant> contestants, const Settings& settings) {
  Comparison comparison;
  comparison.title = std::move(title);
  comparison.unit = "ns";
  comparison.contestants = std::move(contestants);
  compare(comparison, settings.rounds);
}

}  // namespace bench
