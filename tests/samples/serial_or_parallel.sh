# One by one takes at least the sum of the times; all at once takes less, even on a busy machine.
set -euo pipefail
"$1" >output
grep -qE '^one by one: [0-9.]+ s, sum 10$' output
grep -qE '^all at once: [0-9.]+ s, sum 10$' output
grep -qE '^[0-9.]+ times as fast$' output
awk '/^one by one/ { serial = $4 } /^all at once/ { parallel = $4 } END { exit !(serial >= 0.5 && parallel >= 0.1 && parallel < serial) }' output
