// executors [--quick] [--rounds N] [trace_cost]
//
// What the extras of the executors cost. See README.md in the folder above.
#include "measurements.hpp"

int main(int argc, char** argv) { return bench::run_program(argc, argv, {{"trace_cost", bench::measure_trace_cost}}); }
