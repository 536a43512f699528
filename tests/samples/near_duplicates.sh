# Known near duplicates among files that cannot be used.
set -euo pipefail
program=$1

mkdir -p files/deep/deeper files/closed files/"with space"
words() { for i in $(seq 1 400); do echo "word$((i * $1 % 1009))"; done; }
words 7 >files/original
cp files/original files/deep/deeper/copy
{ words 7; echo some more words at the end; } >files/"with space"/longer
words 11 >files/unrelated
: >files/empty
printf 'text\0and more' >files/binary
echo '...' >files/wordless
words 7 >files/unreadable
chmod 000 files/unreadable files/closed
ln -s .. files/deep/up
trap 'chmod 700 files/closed' EXIT

# Root reads everything: then those two are as good as others.
unreadable=2
if [ -r files/unreadable ]; then unreadable=0; fi

expect() { grep -qF -- "$1" output || { echo "missing: $1"; cat output; exit 1; }; }
count() { [ "$(grep -cF -- "$1" output)" = "$2" ] || { echo "not $2 times: $1"; cat output; exit 1; }; }

for options in "--serial" "--serial --workers 1" "--serial --workers 3"; do
  "$program" files $options >output
  expect "$((3 + unreadable)) skipped"
  expect "skipped files/empty: empty"
  expect "skipped files/binary: binary"
  expect "skipped files/wordless: no words in it"
  if [ $unreadable != 0 ]; then
    expect "skipped files/unreadable: Permission denied"
    expect "skipped files/closed: Permission denied"
    expect "3 similar pairs"
  else
    expect "6 similar pairs"
  fi
  expect "1.00  files/deep/deeper/copy  files/original"
  grep -qE '^  0\.9[0-9]  files/original  files/with space/longer$' output
  count unrelated 0
  count /up/ 0
  grep -qE '^parallel: [0-9.]+ s, serial: [0-9.]+ s \([0-9.]+x\), results identical: yes$' output
done

"$program" files >output
expect "parallel: "
count "serial: " 0

status=0
"$program" no/such/directory >output 2>&1 || status=$?
[ $status = 2 ]
expect "no directory: no/such/directory"
status=0
"$program" files --workers none >output 2>&1 || status=$?
[ $status = 2 ]
