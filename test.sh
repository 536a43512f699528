#!/usr/bin/env bash
# ./test.sh        installs what is missing, builds and runs the test suite
# ./test.sh --all  the same under the whole matrix: compilers, sanitizers, checks of the sources
set -euo pipefail
cd "$(dirname "$0")"
case "${*:-}" in
  "") all=false ;;
  --all) all=true ;;
  *) sed -n '2,3s/^# //p' "$0" >&2; exit 2 ;;
esac

jobs=$(nproc)
passed=0 failed=0 skipped=0
summary=()

# stage NAME COMMAND...: a failure is remembered and the next stage runs all the same.
stage() {
  local name=$1 began=$SECONDS status verdict tests broken=0
  shift
  printf '\n===== %s\n' "$name"
  rm -f build/ctest.log
  set +e
  (set -e; "$@")
  status=$?
  set -e
  # "97% tests passed, 3 tests failed out of 100"; a stage without tests of its own counts as one.
  tests=
  if [ -e build/ctest.log ]; then
    tests=$(sed -n 's/^[0-9]*% tests passed, \([0-9]*\) tests* failed out of \([0-9]*\)$/\1 \2/p' build/ctest.log)
  fi
  if [ -n "$tests" ]; then
    broken=${tests% *}
    passed=$((passed + ${tests#* } - broken))
  elif [ $status -eq 0 ]; then
    passed=$((passed + 1))
  fi
  if [ $status -ne 0 ] && [ "$broken" -eq 0 ]; then broken=1; fi
  failed=$((failed + broken))
  verdict=$([ $status -eq 0 ] && echo passed || echo "FAILED (status $status)")
  summary+=("$(printf '%-28s %5d s  %s' "$name" $((SECONDS - began)) "$verdict")")
  echo "${summary[-1]}"
}

skip() {
  summary+=("$(printf '%-28s          skipped: %s' "$1" "$2")")
  printf '\n===== %s\n' "${summary[-1]}"
  skipped=$((skipped + 1))
}

# preset NAME [OPTION...]: configures, builds and runs the tests of one of CMakePresets.json. More tests run at a time
# than there are processors, since the longest of them mostly wait.
preset() {
  local name=$1
  shift
  cmake --preset "$name" -DCOFORK_BUILD_TESTS=ON -DCOFORK_BUILD_SAMPLES=ON \
    -DCOFORK_PRECOMPILE_HEADERS=ON "$@"
  cmake --build --preset "$name" -j "$jobs" -- --quiet
  ctest --preset "$name" -j $((2 * jobs)) | tee build/ctest.log
}

clang_headers() { cmake --build --preset asan-clang -j "$jobs" --target header_check -- --quiet; }

document_examples() { cmake/check_examples README.md docs; }

coroutine_patterns() {
  cmake/check_coroutine_patterns --self-test runtime ipc executors tests samples benchmarks docs README.md
}

formatting() {
  find runtime ipc executors tests samples benchmarks \( -name '*.hpp' -o -name '*.cpp' \) -print0 |
    xargs -0 clang-format-14 --dry-run -Werror
}

if $all; then
  cmake/install_dependencies all
  mkdir -p build
  stage "release" preset release -DCOFORK_WERROR=ON -DCOFORK_BUILD_BENCHMARKS=ON
  stage "demo" ./demo.sh
  stage "coroutine patterns" coroutine_patterns
  stage "examples in documents" document_examples
  if command -v clang-format-14 >/dev/null; then
    stage "clang-format" formatting
  else
    skip "clang-format" "there is no clang-format-14 here, and other versions format differently"
  fi
  stage "asan-gcc" preset asan-gcc
  if command -v clang++-19 >/dev/null; then
    # The samples have run twice by then. Every source has to compile without precompiled headers.
    stage "asan-clang" preset asan-clang -DCOFORK_BUILD_SAMPLES=OFF -DCOFORK_PRECOMPILE_HEADERS=OFF
    stage "headers alone, clang" clang_headers
    stage "tsan-clang" preset tsan-clang -DCOFORK_BUILD_SAMPLES=OFF
  else
    for name in asan-clang "headers alone, clang" tsan-clang; do
      skip "$name" "there is no clang++-19 here"
    done
  fi
else
  cmake/install_dependencies test
  mkdir -p build
  stage "release" preset release
fi

printf '\n'
printf '%s\n' "${summary[@]}"
printf '\n%d passed, %d failed' "$passed" "$failed"
[ "$skipped" -eq 0 ] || printf ', %d skipped' "$skipped"
printf '\n'
[ "$failed" -eq 0 ]
