# Clients that are plain sockets of bash: answers, one that goes away, a request that takes too long, Ctrl-C.
set -euo pipefail
source "${BASH_SOURCE%/*}/server.bash"
program=$1
forever=1000000000000000000

answer() {  # DESCRIPTOR EXPECTED
  local line
  IFS= read -r -t 60 -u "$1" line || { echo "no answer, instead of: $2" && exit 1; }
  [ "$line" = "$2" ] || { echo "$line, instead of: $2" && exit 1; }
}
fnv() {  # TEXT, of which the shell knows the codes
  local hash=$((0xcbf29ce484222325)) i
  for ((i = 0; i < ${#1}; ++i)); do hash=$(((hash ^ $(printf %d "'${1:i:1}")) * 0x100000001b3)); done
  printf %016x $hash
}

start 0 3600 1  # seconds for each request, workers
exec 3<>"/dev/tcp/127.0.0.1/$port" 4<>"/dev/tcp/127.0.0.1/$port"
printf '1 a text\n2 ab\nnonsense\n-1 x\n0 x\n' >&3  # all at once: answered in their order
answer 3 "$(fnv "a text")"
answer 3 "$(fnv abab)"
answer 3 "error: a number, a space and a text were expected"
answer 3 "error: a number, a space and a text were expected"
answer 3 "$(fnv "")"

# A client that is killed while the only worker is at its request, with more behind it: the next one gets the worker.
bash -c "exec 5<>/dev/tcp/127.0.0.1/$port; printf '1 x\n' >&5; read -r -u 5 line; echo \"\$line\" >ready
         printf '$forever x\n$forever y\n' >&5; echo sent >>ready; read -r -u 5 line" &
client=$!
for ((i = 0; i < 2400; ++i)); do
  if grep -qx sent ready 2>/dev/null; then break; fi
  sleep 0.025
done
grep -qx sent ready
{ kill -9 $client && wait $client; } 2>/dev/null || true
printf '1 still there\n' >&4
answer 4 "$(fnv "still there")"

# One that goes away by itself, one without a newline for ever, and Ctrl-C while requests are at work or wait.
exec 5<>"/dev/tcp/127.0.0.1/$port"
printf '%s x\n' $forever >&5
exec 5>&-
exec 5<>"/dev/tcp/127.0.0.1/$port"
printf '%05000d' 1 >&5 2>/dev/null || true
if IFS= read -r -t 60 -u 5 line; then echo "an answer to nothing: $line" && exit 1; fi
exec 5>&-
printf '3 x\n%s x\n' $forever >&3
answer 3 "$(fnv xxx)"
printf '%s x\n' $forever >&4
stop
exec 3>&- 4>&-

# What takes longer than is allowed fails alone.
start 0 2 1
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf '%s x\n1 x\n' $forever >&3
answer 3 "error: that takes too long"
answer 3 "$(fnv x)"
exec 3>&-
stop
