# What it prints, and that both files are what they are said to be and tell of the crash and of the timeout.
set -euo pipefail
"$1" >output
diff output - <<'END'
document 3: exit code -11
document 5: parse exceeded its timeout of 2 s
120 images, checksum 498120
4128 tasks recorded, 0 dropped
timeline.svg opens in a browser: look for red and magenta bars (a crash, a timeout) and for gaps in a row
timeline.json opens in ui.perfetto.dev: select a bar to see how long its task was queued and how it ended
END
for text in 'checksum(int) (4000)' 'resize(int) (120)' 'parse (8)' 'its worker died (1)' 'timed out (1)' SIGTERM; do
  grep -qF "$text" timeline.svg || { echo "timeline.svg lacks $text" && exit 1; }
done
for kind in forked started queued sent received killed ended; do
  grep -qF "\"name\":\"$kind\"" timeline.json || { echo "timeline.json lacks $kind" && exit 1; }
done
if command -v python3 >/dev/null; then
  python3 -m json.tool timeline.json /dev/null
  python3 -c 'import xml.dom.minidom; xml.dom.minidom.parse("timeline.svg")'
fi
