// runtime [--quick] [--rounds N] [spawn_program]
//
// What the runtime does beside the limit and other libraries. See README.md in the folder above.
#include "measurements.hpp"

int main(int argc, char** argv) {
  return bench::run_program(argc, argv, {{"spawn_program", bench::measure_spawn_program}});
}
