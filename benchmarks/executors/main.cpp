// executors [--quick] [--rounds N] [snapshot_map] [trace_cost] [worker_start]
//
// The other executors beside what one would write by hand, and beside the peers; what the extras cost. See README.md in
// the folder above.
#include "measurements.hpp"

int main(int argc, char** argv) {
  return bench::run_program(argc, argv,
                            {{"snapshot_map", bench::measure_snapshot_map},
                             {"trace_cost", bench::measure_trace_cost},
                             {"worker_start", bench::measure_worker_start}});
}
