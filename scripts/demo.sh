#!/usr/bin/env bash
# The main job on the default corpus: a tokenizer, a small GPT trained for two minutes, its loss on held-out text, a
# sample, and a report. Everything goes to demo/.
set -euo pipefail
cd "$(dirname "$0")/.."
kiln=${KILN:-.build/release/kiln}
out=demo

rm -rf "$out"
mkdir -p "$out"
if scripts/setup.sh bible-kjv; then
  echo "corpus: the King James Bible (Debian's bible-kjv)"
  bible -f Gen1:1-Rev22:21 | sed -E 's/^[0-9A-Za-z]+:[0-9]+ //' > "$out/corpus.txt"
  prompt="And the LORD said unto Moses"
elif ls /usr/share/common-licenses/* > /dev/null 2>&1; then
  echo "corpus: the licence texts of this system (bible-kjv could not be installed)"
  cat /usr/share/common-licenses/* > "$out/corpus.txt"
  prompt="You may copy and distribute"
else
  echo "error: no corpus; run: kiln train --data YOUR.txt --out run" >&2
  exit 1
fi
awk 'NR % 20 != 0' "$out/corpus.txt" > "$out/train.txt"
awk 'NR % 20 == 0' "$out/corpus.txt" > "$out/held-out.txt"

echo; echo "== tokenizer"
"$kiln" tokenizer train --data "$out/train.txt" --vocab-size 1024 --out "$out/tokenizer.json"
echo; echo "== training"
"$kiln" train --data "$out/train.txt" --eval-data "$out/held-out.txt" --tokenizer "$out/tokenizer.json" \
  --layers 4 --width 192 --heads 3 --context 128 --batch 16 --max-time 120s --lr 3e-3 --out "$out/run"
echo; echo "== evaluation on held-out text"
"$kiln" eval --model "$out/run" --data "$out/held-out.txt" --context 128 --batch 16
echo; echo "== a sample"
"$kiln" generate --model "$out/run" --prompt "$prompt" --max-tokens 90 --temperature 0.7 --top-p 0.95 --seed 1
echo
echo "report: $out/run/report.html"
echo "model:  $out/run (config.json, model.safetensors, tokenizer.json)"
