#include "compare.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>

namespace bench {

namespace {

using Samples = std::vector<std::optional<double>>;

std::string number(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", value < 10 ? 2 : value < 1000 ? 1 : 0, value);
  return text;
}

std::vector<double> present(const Samples& samples) {
  std::vector<double> values;
  for (const std::optional<double>& sample : samples)
    if (sample) values.push_back(*sample);
  return values;
}

/// The median over the rounds of `above / below`.
std::optional<double> ratio(const Samples* above, const Samples* below) {
  if (!above || !below) return std::nullopt;
  std::vector<double> ratios;
  for (std::size_t i = 0; i != above->size(); ++i)
    if ((*above)[i] && (*below)[i]) ratios.push_back(*(*above)[i] / *(*below)[i]);
  if (ratios.empty()) return std::nullopt;
  return median(std::move(ratios));
}

class Table {
 public:
  Table(const Comparison& comparison, const std::vector<Samples>& samples)
      : comparison_(comparison), samples_(samples), best_peer_(find_best_peer()) {}

  void print() const {
    std::printf("\n%s [%s, %s is better]\n", comparison_.title.c_str(), comparison_.unit.c_str(),
                comparison_.higher_is_better ? "higher" : "lower");
    const std::string conversion = comparison_.conversion ? padded(comparison_.conversion->unit, 9) : "";
    std::printf("  %-50s %-26s%s %8s %*s\n", "", "median [min-max]", conversion.c_str(), "x limit", peer_width,
                peer_title());
    for (std::size_t i = 0; i != samples_.size(); ++i) print_row(i);
    std::fflush(stdout);
  }

 private:
  static constexpr int peer_width = 11;

  static std::string padded(const std::string& text, std::size_t width) {
    return std::string(width > text.size() ? width - text.size() : 0, ' ') + text;
  }
  const char* peer_title() const {
    const bool several = std::any_of(comparison_.contestants.begin(), comparison_.contestants.end(),
                                     [](const Contestant& contestant) { return contestant.role == Contestant::peer; });
    return several ? "x best peer" : "x Python";
  }
  const Samples* find_best_peer() const {
    const Samples* best = nullptr;
    for (std::size_t i = 0; i != samples_.size(); ++i) {
      const Contestant::Role role = comparison_.contestants[i].role;
      if ((role != Contestant::python && role != Contestant::peer) || present(samples_[i]).empty()) continue;
      if (!best || is_better(median(present(samples_[i])), median(present(*best)))) best = &samples_[i];
    }
    return best;
  }
  bool is_better(double one, double other) const { return comparison_.higher_is_better ? one > other : one < other; }
  const Samples* limit() const {
    for (std::size_t i = 0; i != samples_.size(); ++i)
      if (comparison_.contestants[i].role == Contestant::limit) return &samples_[i];
    return nullptr;
  }
  std::optional<double> times_limit(const Samples& samples) const {
    return comparison_.higher_is_better ? ratio(limit(), &samples) : ratio(&samples, limit());
  }
  std::optional<double> times_peer(const Samples& samples) const {
    return comparison_.higher_is_better ? ratio(&samples, best_peer_) : ratio(best_peer_, &samples);
  }

  void print_row(std::size_t i) const {
    const Contestant& contestant = comparison_.contestants[i];
    const std::vector<double> values = present(samples_[i]);
    const std::string name = contestant.name + (contestant.role == Contestant::limit ? " (limit)" : "");
    if (values.empty()) {
      std::printf("  %-50s %s\n", name.c_str(), contestant.without.c_str());
      return;
    }
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    const std::string figures = number(median(values)) + " [" + number(*least) + "-" + number(*most) + "]";
    std::string converted;
    if (comparison_.conversion) converted = padded(number(median(values) * comparison_.conversion->factor), 9);
    const auto factor = [](std::optional<double> value) { return value ? number(*value) : std::string("-"); };
    std::printf("  %-50s %-26s%s %8s %*s\n", name.c_str(), figures.c_str(), converted.c_str(),
                contestant.role == Contestant::limit ? "" : factor(times_limit(samples_[i])).c_str(), peer_width,
                &samples_[i] == best_peer_ ? "" : factor(times_peer(samples_[i])).c_str());
    for (const Aim& aim : contestant.aims) print_aim(aim, samples_[i]);
  }

  void print_aim(const Aim& aim, const Samples& samples) const {
    std::string text;
    std::optional<double> reached;
    bool at_least = comparison_.higher_is_better;
    switch (aim.kind) {
      case Aim::times_limit:
        text = number(aim.bound) + " times the limit";
        reached = times_limit(samples);
        at_least = false;
        break;
      case Aim::times_peer:
        text = number(aim.bound) + " times " + best_peer_name();
        reached = times_peer(samples);
        at_least = true;
        break;
      case Aim::value:
        text = number(aim.bound) + " " + comparison_.unit;
        reached = median(present(samples));
        break;
    }
    const char* verdict = "not measured";
    if (reached) verdict = (at_least ? *reached >= aim.bound : *reached <= aim.bound) ? "met" : "NOT met";
    std::printf("    aim: at %s %s: %s\n", at_least ? "least" : "most", text.c_str(), verdict);
  }
  std::string best_peer_name() const {
    for (std::size_t i = 0; i != samples_.size(); ++i)
      if (&samples_[i] == best_peer_) return comparison_.contestants[i].name;
    return "the best peer";
  }

  const Comparison& comparison_;
  const std::vector<Samples>& samples_;
  const Samples* const best_peer_;
};

}  // namespace

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

void compare(const Comparison& comparison, int rounds) {
  std::vector<Samples> samples(comparison.contestants.size());
  for (int round = 0; round != rounds; ++round) {
    comparison.begin_round();
    for (std::size_t i = 0; i != samples.size(); ++i) samples[i].push_back(comparison.contestants[i].run());
  }
  Table(comparison, samples).print();
}

}  // namespace bench
