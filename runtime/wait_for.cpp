#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <cstdio>
#include <string>

namespace cofork::detail {

namespace {

std::string in_words(std::chrono::nanoseconds duration) {
  struct Unit {
    double nanoseconds;
    const char* name;
  };
  static constexpr Unit units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}, {1, "ns"}};
  const auto count = static_cast<double>(duration.count());
  const Unit* unit = units;
  while (unit->nanoseconds > 1 && count != 0 && count < unit->nanoseconds && count > -unit->nanoseconds) ++unit;
  char text[48];
  std::snprintf(text, sizeof text, "%.10g %s", count / unit->nanoseconds, unit->name);
  return text;
}

}  // namespace

TimeLimit::TimeLimit(Context& context, std::chrono::nanoseconds limit)
    : timer_(context), limit_(limit), deadline_(deadline_after(limit)) {}

void TimeLimit::start() {
  if (limit_ <= limit_.zero())
    OwnTimer::expire(timer_);
  else
    timer_.start(deadline_, &OwnTimer::expire);
}

void TimeLimit::OwnTimer::expire(Timer& timer) noexcept {
  auto& self = static_cast<OwnTimer&>(timer);
  self.exceeded = true;
  self.context.cancel();
}

void TimeLimit::fail() const { throw TimeoutError("wait_for: not done within " + in_words(limit_)); }

}  // namespace cofork::detail
