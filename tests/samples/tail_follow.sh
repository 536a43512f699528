# A file that grows, is cut and is replaced, until a signal.
set -euo pipefail
program=$1

seq 1 15 >log
"$program" log >output &
tail=$!
trap 'kill -9 $tail 2>/dev/null || true' EXIT
shown() {
  for _ in $(seq 1 2400); do
    if grep -qxF -- "$1" output; then return; fi
    sleep 0.025
  done
  echo "not shown: $1"; cat output; exit 1
}
shown 15
echo sixteen >>log
shown sixteen
: >log
shown "(the file was cut)"
echo after the cut >>log
shown "after the cut"
mv log log.1
echo "in a new file" >log
shown "in a new file"
kill -INT $tail
wait $tail
trap - EXIT
diff output - <<END
$(seq 6 15)
sixteen
(the file was cut)
after the cut
(a new file)
in a new file
(the end)
END

! "$program" missing 2>errors
[ "$(cat errors)" = "tail_follow: open missing: No such file or directory" ]
