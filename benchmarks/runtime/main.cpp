// runtime [--quick] [--rounds N] [leaf] [chain] [yield] [spawn] [timers] [post] [spawn_program]
//
// What the runtime does beside the limit and other libraries. See README.md in the folder above.
#include "measurements.hpp"

int main(int argc, char** argv) {
  return bench::run_program(argc, argv,
                            {{"leaf", bench::measure_leaf},
                             {"chain", bench::measure_chain},
                             {"yield", bench::measure_yield},
                             {"spawn", bench::measure_spawn},
                             {"timers", bench::measure_timers},
                             {"post", bench::measure_post},
                             {"spawn_program", bench::measure_spawn_program}});
}
