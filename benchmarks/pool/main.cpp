// pool [--quick] [--rounds N] [round_trip] [throughput] [map] [array]
//
// The process pool beside the limit, hand-written for the occasion, and beside Python's. See README.md in the folder
// above.
#include "measurements.hpp"

int main(int argc, char** argv) {
  return bench::run_program(argc, argv,
                            {{"round_trip", bench::measure_round_trip},
                             {"throughput", bench::measure_throughput},
                             {"map", bench::measure_map},
                             {"array", bench::measure_array}});
}
