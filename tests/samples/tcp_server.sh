# Several clients at once, then Ctrl-C.
set -e
client=$(dirname "$1")/tcp_client
: >output
env --default-signal=INT "$1" >output &  
server=$!
trap 'kill -9 $server 2>/dev/null || true' EXIT
for ((i = 0; i < 200; ++i)); do
  port=$(sed -n 's/^listening at port //p' output)
  [ -n "$port" ] && break
  sleep 0.05
done
clients=()
for word in one two three; do
  "$client" "$port" "$word" again >"$word" &
  clients+=($!)
done
for each in "${clients[@]}"; do wait "$each"; done
for word in one two three; do
  printf '%s -> %s\nagain -> AGAIN\n' "$word" "${word^^}" | diff - "$word"
done
kill -INT $server
wait $server
trap - EXIT
grep -qx stopped output
