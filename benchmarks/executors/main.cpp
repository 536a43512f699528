// executors [--quick] [--rounds N] [worker_start]
//
// What executors do beside making calls. See README.md in the folder above.
#include "measurements.hpp"

int main(int argc, char** argv) {
  return bench::run_program(argc, argv, {{"worker_start", bench::measure_worker_start}});
}
