// What a trace in JSON holds, one event a line, and whether files are well-formed.
#pragma once

#include <algorithm>
#include <cofork/executors/trace_recorder.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace trace_test {

struct Event {
  std::string line, phase, name;
  double at = 0, duration = 0;
  unsigned long task = 0, thread = 0;
};

/// What follows `"key":`, up to the end of the string or number.
inline std::string field(const std::string& line, const std::string& key) {
  const std::size_t place = line.find("\"" + key + "\":");
  if (place == std::string::npos) return "";
  const std::size_t begin = place + key.size() + 3;
  if (line[begin] != '"') return line.substr(begin, line.find_first_of(",}", begin) - begin);
  return line.substr(begin + 1, line.find('"', begin + 1) - begin - 1);
}
inline double number(const std::string& text) { return text.empty() ? 0 : std::stod(text); }

inline std::vector<Event> events(const cofork::TraceRecorder& trace) {
  std::vector<Event> all;
  std::istringstream lines(trace.json());
  for (std::string line; std::getline(lines, line);) {
    const std::string phase = field(line, "ph");
    if (phase.empty()) continue;
    const std::string task = phase == "b" || phase == "e" ? field(line, "id") : field(line, "number");
    all.push_back({line, phase, field(line, "name"), number(field(line, "ts")), number(field(line, "dur")),
                   static_cast<unsigned long>(number(task)), static_cast<unsigned long>(number(field(line, "tid")))});
  }
  return all;
}

inline std::vector<Event> named(const std::vector<Event>& all, const std::string& name) {
  std::vector<Event> some;
  std::copy_if(all.begin(), all.end(), std::back_inserter(some), [&](const Event& e) { return e.name == name; });
  return some;
}

/// The executions: of all functions, or of one.
inline std::vector<Event> runs(const std::vector<Event>& all, const std::string& name = "") {
  std::vector<Event> some;
  for (const Event& event : all)
    if (event.phase == "X" && (name.empty() || event.name == name)) some.push_back(event);
  return some;
}

inline std::size_t count_ends(const std::vector<Event>& executed, const std::string& end) {
  return static_cast<std::size_t>(
      std::count_if(executed.begin(), executed.end(), [&](const Event& e) { return field(e.line, "end") == end; }));
}

/// Every execution: queued, sent, begun, ended, received, in this order, and within the life of its worker.
inline void check_order(const std::vector<Event>& all) {
  constexpr double rounding = 0.002;
  std::map<unsigned long, double> forked, ended;
  for (const Event& event : all) {
    if (event.phase == "i" && event.name == "forked") forked[event.thread] = event.at;
    if (event.phase == "i" && event.name == "ended") ended[event.thread] = event.at;
  }
  // The phases of an execution stand next to each other.
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].phase != "X") continue;
    REQUIRE(i >= 4);
    REQUIRE(i + 1 < all.size());
    INFO(all[i].line);
    const Event &queued = all[i - 4], &taken = all[i - 3], &sent = all[i - 2], &begun = all[i - 1], &run = all[i],
                &received = all[i + 1];
    for (const Event* event : {&queued, &taken, &sent, &begun, &received}) CHECK(event->task == run.task);
    CHECK(queued.name + queued.phase == "queuedb");
    CHECK(sent.name + sent.phase == "sentb");
    CHECK(received.name == "received");
    CHECK(queued.at <= taken.at);
    CHECK(taken.at == sent.at);
    CHECK(sent.at <= begun.at);
    CHECK(begun.at == run.at);
    CHECK(run.at + run.duration <= received.at + rounding);
    REQUIRE(forked.count(run.thread) == 1);
    CHECK(forked[run.thread] <= run.at + rounding);
    if (ended.count(run.thread)) CHECK(received.at <= ended[run.thread] + rounding);
  }
}

/// By Python's parsers; true without a python3.
inline bool well_formed(const cofork::TraceRecorder& trace) {
  if (std::system("python3 -c '' 2>/dev/null") != 0) return true;
  const auto folder = std::filesystem::temp_directory_path();
  trace.write_json(folder / "trace.json");
  trace.write_svg(folder / "trace.svg");
  const std::string json = (folder / "trace.json").string(), svg = (folder / "trace.svg").string();
  const bool both =
      std::system(("python3 -m json.tool '" + json + "' /dev/null").c_str()) == 0 &&
      std::system(("python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' '" + svg + "'").c_str()) == 0;
  std::filesystem::remove(json);
  std::filesystem::remove(svg);
  return both;
}

}  // namespace trace_test
