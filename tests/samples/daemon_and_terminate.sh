# The daemon is gone with its parent.
set -euo pipefail
"$1" >output
daemon=$(sed -n 's/^heartbeat, pid \([0-9]*\), is alive: 1$/\1/p' output)
[ -n "$daemon" ]
if kill -0 "$daemon" 2>/dev/null; then echo "it is still there" && exit 1; fi
diff <(head -3 output) - <<END
ended by itself: 0
after terminate: exit code -15
after kill: exit code -9
END
