// For fmt: `fmt::format("{}", pool.stats())`.
#pragma once

#include <fmt/format.h>

#include <cofork/executors/options.hpp>
#include <cofork/executors/progress.hpp>
#include <cofork/runtime/errors.hpp>
#include <string>

namespace cofork {

/// "3 workers, 2 running, 14 pending; 120 submitted: 100 completed, 3 failed, 1 cancelled; 4 workers started, 1 died"
std::string to_string(const PoolStats& stats);
/// "4.2 ms wall, 3.9 ms user, 0.1 ms system, 12 MiB at most, queued for 80 us, in process 4711"
std::string to_string(const TaskUsage& usage);
/// "450 of 1000, 3 failed, 312/s, 1.8 s left"
std::string to_string(const ProgressReport& report);

namespace detail {
/// Whatever has a `to_string`, with the options of a string: `{:>80}`.
template <class T>
struct TextFormatter : fmt::formatter<fmt::string_view> {
  template <class FormatContext>
  auto format(const T& value, FormatContext& context) const {
    return fmt::formatter<fmt::string_view>::format(to_string(value), context);
  }
};
}  // namespace detail

}  // namespace cofork

template <>
struct fmt::formatter<cofork::PoolStats> : cofork::detail::TextFormatter<cofork::PoolStats> {};
template <>
struct fmt::formatter<cofork::TaskUsage> : cofork::detail::TextFormatter<cofork::TaskUsage> {};
template <>
struct fmt::formatter<cofork::ProgressReport> : cofork::detail::TextFormatter<cofork::ProgressReport> {};
/// Its `what()`, and what the worker had used, if that is known.
template <>
struct fmt::formatter<cofork::WorkerDied> : fmt::formatter<fmt::string_view> {
  template <class FormatContext>
  auto format(const cofork::WorkerDied& error, FormatContext& context) const {
    std::string text = error.what();
    if (const auto usage = error.usage()) text += " (" + cofork::to_string(*usage) + ")";
    return fmt::formatter<fmt::string_view>::format(text, context);
  }
};
