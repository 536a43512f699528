# Several clients at once, then Ctrl-C.
set -euo pipefail
source "${BASH_SOURCE%/*}/server.bash"
program=$1
client=$(dirname "$program")/tcp_client
start
clients=()
for word in one two three; do
  "$client" "$port" "$word" again >"$word" &
  clients+=($!)
done
for each in "${clients[@]}"; do wait "$each"; done
for word in one two three; do
  printf '%s -> %s\nagain -> AGAIN\n' "$word" "${word^^}" | diff - "$word"
done
stop
