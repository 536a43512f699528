#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include "support/listener.hpp"

#include <cstdio>
#include <string>
#include <string_view>

#include "support/catch.hpp"
#include "support/leaks.hpp"
#include "support/sanitizers.hpp"
#include "support/time_limit.hpp"

namespace support {

Findings& findings() {
  static Findings instance;
  return instance;
}

namespace {

#if CATCH_VERSION_MAJOR >= 3
using ListenerBase = Catch::EventListenerBase;
std::string text_of(const Catch::Tag& tag) { return std::string(tag.original); }
std::string name_of(const Catch::TestCaseStats& stats) { return stats.testInfo->name; }
#else
using ListenerBase = Catch::TestEventListenerBase;
std::string text_of(const std::string& tag) { return tag; }
std::string name_of(const Catch::TestCaseStats& stats) { return stats.testInfo.name; }
#endif

// [limit:120] allows a test 120 seconds.
unsigned time_limit_of(const Catch::TestCaseInfo& test) {
  constexpr std::string_view prefix = "limit:";
  unsigned seconds = 60;
  for (const auto& tag : test.tags) {
    const std::string text = text_of(tag);
    if (text.starts_with(prefix)) seconds = static_cast<unsigned>(std::stoul(text.substr(prefix.size())));
  }
  return seconds * slowdown;
}

class Listener : public ListenerBase {
 public:
  using ListenerBase::ListenerBase;

  void testCaseStarting(const Catch::TestCaseInfo& test) override {
    ++findings().tests_run;
    set_time_limit(test.name, time_limit_of(test));
    before_ = Resources::now();
  }

  void testCaseEnded(const Catch::TestCaseStats& stats) override {
    for (const auto& leak : leaks_since(before_)) {
      ++findings().leaks;
      std::fprintf(stderr, "leak: \"%s\" left behind %s\n", name_of(stats).c_str(), leak.c_str());
    }
    cancel_time_limit();
  }

 private:
  Resources before_;
};

CATCH_REGISTER_LISTENER(Listener)

}  // namespace
}  // namespace support
