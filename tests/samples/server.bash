# For the checks of servers, which print their port when they listen, and "stopped" after Ctrl-C. $program is one.

start() {  # ARGUMENT...: sets $server and $port
  : >output
  env --default-signal=INT "$program" "$@" >output &  # what a script starts in the background ignores SIGINT
  server=$!
  trap 'kill -9 $server 2>/dev/null || true' EXIT
  for ((i = 0; i < 2400; ++i)); do
    port=$(sed -n 's/^listening at port //p' output)
    [ -n "$port" ] && return
    sleep 0.025
  done
  echo "it does not listen" && exit 1
}
stop() {
  kill -INT $server
  wait $server
  trap - EXIT
  grep -qx stopped output
}
