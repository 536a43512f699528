# Two children tell who they are; only the order of their lines is open.
set -euo pipefail
"$1" >output
main=$(sed -n 's/^MainProcess: pid //p' output)
read -r first second < <(sed -n 's/^started: pids \(.*\) and \(.*\)/\1 \2/p' output)
diff <(sort output) <(
  sort <<END
MainProcess: pid $main
before start: alive 0 and 0
Process-1: pid $first, a child of MainProcess with pid $main
the second: pid $second, a child of MainProcess with pid $main
started: pids $first and $second
after join: alive 0 and 0
exit codes: 1 and 2
END
)
[ "$(head -2 output | tail -1)" = "before start: alive 0 and 0" ]
[ "$(tail -1 output)" = "exit codes: 1 and 2" ]
