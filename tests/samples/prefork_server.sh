# Several clients at once, then Ctrl-C.
set -euo pipefail
client=$(dirname "$1")/tcp_client
: >output
env --default-signal=INT "$1" >output &  # what a script starts in the background ignores SIGINT
server=$!
trap 'kill -9 $server 2>/dev/null || true' EXIT
for ((i = 0; i < 200; ++i)); do
  port=$(sed -n 's/^listening at port //p' output)
  [ -n "$port" ] && break
  sleep 0.05
done
clients=()
for word in one two three four; do
  "$client" "$port" "$word" >"$word" &
  clients+=($!)
done
for each in "${clients[@]}"; do wait "$each"; done
for word in one two three four; do
  grep -qx "$word -> $word from Process-[12]" "$word"
done
kill -INT $server
wait $server
trap - EXIT
grep -qx stopped output
