#!/usr/bin/env bash
# The most similar pairs of the C and C++ headers on this machine, found on all its cores and then on one.
set -euo pipefail
cd "$(dirname "$0")"
cmake/install_dependencies build
cmake --preset release -DCOFORK_BUILD_TESTS=OFF -DCOFORK_BUILD_SAMPLES=ON
cmake --build --preset release --target sample_near_duplicates
exec build/release/samples/near_duplicates /usr/include --serial
