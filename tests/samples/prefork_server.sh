# Several clients at once, then Ctrl-C.
set -euo pipefail
source "${BASH_SOURCE%/*}/server.bash"
program=$1
client=$(dirname "$program")/tcp_client
start
clients=()
for word in one two three four; do
  "$client" "$port" "$word" >"$word" &
  clients+=($!)
done
for each in "${clients[@]}"; do wait "$each"; done
for word in one two three four; do
  grep -qx "$word -> $word from Process-[12]" "$word"
done
stop
