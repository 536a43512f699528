// ipc [--quick] [--rounds N] [throughput] [round_trip] [process]
//
// Channels between processes beside the limit, a ring hand-written for the occasion, and beside others'; and the start
// of a process. See README.md in the folder above.
#include <string>

#include "measurements.hpp"

int main(int argc, char** argv) {
  return bench::run_program(argc, argv,
                            {{"throughput", bench::measure_throughput},
                             {"round_trip", bench::measure_round_trip},
                             {"process", bench::measure_process}},
                            bench::versions_of_peers());
}
