# Clients that are plain sockets of bash, curl and wrk: answers and refusals, connections that are kept and closed, a
# request that takes too long, Ctrl-C.
set -euo pipefail
source "${BASH_SOURCE%/*}/server.bash"
program=$1
forever=1000000000000000000

same() {  # WHAT EXPECTED GIVEN
  [ "$2" = "$3" ] || { printf '%s: expected\n%s\ninstead of\n%s\n' "$@" && exit 1; }
}
talk() {  # TEXT, as printf prints it: everything that is answered until the server closes the connection
  exec 3<>"/dev/tcp/127.0.0.1/$port"
  printf "$1" >&3
  timeout 60 cat <&3 | tr -d '\r'
  exec 3>&-
}
refused() {  # STATUS TEXT: that, and the end, though more follows
  same "$2" "HTTP/1.1 $1" "$(talk "${2}GET / HTTP/1.1\r\nHost: x\r\n\r\n" | grep ^HTTP)"
}
installed() { command -v "$1" >/dev/null || { echo "skipped: $1 is not installed" && return 1; }; }

start 0 3600  # seconds for each request
first='GET / HTTP/1.1\r\nHost: x\r\n\r\n'
last='GET /primes/100 HTTP/1.1\nHOST:x\nConnection: Close\n\n'
ok=$'HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: '

# Several requests at once are answered in their order; what follows the last one is not.
same "requests sent ahead" "$ok"$'7\n\nHello!\n'"$ok"$'7\n\n'"$ok"$'3\nConnection: close\n\n25' \
  "$(talk "$first\r\n${first/GET/HEAD}$last$first")"

refused "400 Bad Request" 'nonsense\r\n\r\n'
refused "400 Bad Request" 'GET  HTTP/1.1\r\nHost: x\r\n\r\n'
refused "400 Bad Request" 'GET / x HTTP/1.1\r\nHost: x\r\n\r\n'
refused "400 Bad Request" 'GET / HTTP/1.1\r\n\r\n'
refused "400 Bad Request" 'GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n'
refused "400 Bad Request" 'GET / HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n'
refused "400 Bad Request" 'GET / HTTP/1.1\r\nHost : x\r\n\r\n'
refused "400 Bad Request" 'GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n'
refused "505 HTTP Version Not Supported" 'GET / HTTP/2.0\r\nHost: x\r\n\r\n'
refused "431 Request Header Fields Too Large" "GET /$(printf %09000d 0) HTTP/1.1\r\nHost: x\r\n\r\n"
refused "431 Request Header Fields Too Large" "GET / HTTP/1.1\r\nHost: x\r\n$(printf 'X: %090d\\r\\n' {1..99})\r\n"
# A body would be taken for requests, if it was not the end.
refused "405 Method Not Allowed" 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc'
refused "200 OK" 'GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n'

# Errors after which the connection goes on.
for each in "404 Not Found:GET /nowhere" "404 Not Found:GET /primes/" "404 Not Found:GET /primes/9x" \
  "404 Not Found:GET /primes/99999999999999999999" "405 Method Not Allowed:DELETE /"; do
  same "$each" "HTTP/1.1 ${each%%:*}"$'\nHTTP/1.1 200 OK' \
    "$(talk "${each#*:} HTTP/1.1\r\nHost: x\r\n\r\n$last" | grep ^HTTP)"
done

if installed curl; then
  curl=(curl -q -sS --noproxy '*' --max-time 60 --http1.1)
  url=http://127.0.0.1:$port
  same "a kept connection" $'Hello!\n1\n1229\n0\nHello!\n0' \
    "$("${curl[@]}" -w '%{num_connects}\n' $url/ $url/primes/10000 $url/)"
  same "HEAD" "200 7" "$("${curl[@]}" -I -o head -w '%{http_code} ' $url/ && sed -n 's/Content-Length: \(.\).*/\1/p' head)"
  same "Allow" "Allow: GET, HEAD" "$("${curl[@]}" -D - -o body -d x $url/ | tr -d '\r' | grep ^Allow)"
  head -c 300000 /dev/zero >large
  same "a large body" "405" "$("${curl[@]}" -H Expect: -o body -w '%{http_code}' --data-binary @large $url/)"
  same "a large head" "431" "$("${curl[@]}" -H "X: $(printf %09000d 0)" -o body -w '%{http_code}' $url/)"
fi

if installed wrk; then
  for seconds in 1 15; do  # the longer time is for a machine that stood still in the shorter
    wrk -t1 -c64 -d${seconds}s --timeout 60s "http://127.0.0.1:$port/" >load
    if grep -E 'Socket errors|Non-2xx' load; then cat load && exit 1; fi
    grep -q '^Requests/sec: *[0-9.]*[1-9]' load && break
  done
  grep -q '^Requests/sec: *[0-9.]*[1-9]' load || { cat load && exit 1; }
fi

# One that goes away in the middle of a head, one in the middle of a request; then Ctrl-C with one at work.
exec 4<>"/dev/tcp/127.0.0.1/$port" 5<>"/dev/tcp/127.0.0.1/$port" 6<>"/dev/tcp/127.0.0.1/$port"
printf 'GET / HT' >&4
printf 'GET /primes/1000 HTTP/1.1\r\nHost: x\r\n\r\n' >&5
exec 4>&- 5>&-
printf "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /primes/$forever HTTP/1.1\r\nHost: x\r\n\r\n" >&6
IFS= read -r -t 60 -u 6 line
same "the one before" $'HTTP/1.1 200 OK\r' "$line"
stop
exec 6>&-

# What takes longer than is allowed fails alone; the time of the other includes that in which a worker is started.
start 0 5
same "a time limit" $'HTTP/1.1 503 Service Unavailable\nHTTP/1.1 200 OK' \
  "$(talk "GET /primes/$forever HTTP/1.1\r\nHost: x\r\n\r\n$last" | grep ^HTTP)"
stop
