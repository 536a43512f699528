# One by one takes at least the sum of the times; all at once takes less, in one of some runs even on a busy machine.
set -euo pipefail
for _ in 1 2 3 4 5; do
  "$1" >output
  grep -qE '^one by one: [0-9.]+ s, sum 10$' output
  grep -qE '^all at once: [0-9.]+ s, sum 10$' output
  grep -qE '^[0-9.]+ times as fast$' output
  awk '/^one by one/ { serial = $4 } /^all at once/ { parallel = $4 } END { exit !(serial >= 0.5 && parallel >= 0.1) }' output
  if awk '/^one by one/ { serial = $4 } /^all at once/ { parallel = $4 } END { exit !(parallel < serial) }' output; then exit 0; fi
done
cat output && exit 1
