# Every good input has its value, every bad one its reason, and the crash its backtrace.
set -eu
# A sanitizer's shadow memory is more than the sample's limit allows.
if grep -q -e __asan_init -e __tsan_init "$1"; then exit 0; fi

output=$("$1")
echo "$output"
for line in '1 + 2 = 3' 'a + b + 10 = 13' '(1 + 2) + (3 + 4) = 10' '[5] + 1 = 6' '{ two } 2  = 2' '40 + b = 42' \
  '5 of 11 inputs are bad:' '    column 5: a number was expected' '    column 7: a ) was expected' '    std::bad_alloc'; do
  grep -qxF -- "$line" <<<"$output"
done
grep -q 'was killed by SIGSEGV at address 0x0 .*while it executed calculate(' <<<"$output"
grep -qi '#0 .*calculat' <<<"$output"
grep -q 'calculate(.*exceeded its timeout of 2 s' <<<"$output"
