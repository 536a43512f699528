#pragma once

namespace support {

/// What the listener saw: how many test cases ran, and how many things they left behind.
struct Findings {
  int tests_run = 0;
  int leaks = 0;
};
Findings& findings();

}  // namespace support
