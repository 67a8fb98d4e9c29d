#!/usr/bin/env bash
# corpus.sh DIR: the default corpus in a new folder: corpus.txt, of whose lines every twentieth is in held-out.txt and
# the others in train.txt, and prompt.txt, a text to go on from. The demo and the bench's training experiments use it.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: corpus.sh DIR" >&2; exit 64; }
scripts=$(dirname "$0")
out=$1

mkdir -p "$out"
if "$scripts/setup.sh" bible-kjv; then
  echo "corpus: the King James Bible (Debian's bible-kjv)"
  bible -f Gen1:1-Rev22:21 | sed -E 's/^[0-9A-Za-z]+:[0-9]+ //' > "$out/corpus.txt"
  echo -n "And the LORD said unto Moses" > "$out/prompt.txt"
elif ls /usr/share/common-licenses/* > /dev/null 2>&1; then
  echo "corpus: the licence texts of this system (bible-kjv could not be installed)"
  cat /usr/share/common-licenses/* > "$out/corpus.txt"
  echo -n "You may copy and distribute" > "$out/prompt.txt"
else
  echo "error: no corpus; run: kiln train --data YOUR.txt --out run" >&2
  exit 1
fi
awk 'NR % 20 == 0' "$out/corpus.txt" > "$out/held-out.txt"
awk 'NR % 20 != 0' "$out/corpus.txt" > "$out/train.txt"
