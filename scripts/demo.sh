#!/usr/bin/env bash
# The main job on the default corpus: a tokenizer, a small GPT trained for two minutes, its loss on held-out text, a
# sample, and a report. Everything goes to demo/.
set -euo pipefail
cd "$(dirname "$0")/.."
kiln=${KILN:-.build/release/kiln}
out=demo

rm -rf "$out"
scripts/corpus.sh "$out"

echo; echo "== tokenizer"
"$kiln" tokenizer train --data "$out/train.txt" --vocab-size 1024 --out "$out/tokenizer.json"
echo; echo "== training"
"$kiln" train --data "$out/train.txt" --eval-data "$out/held-out.txt" --tokenizer "$out/tokenizer.json" \
  --layers 4 --width 192 --heads 3 --context 128 --batch 16 --max-time 120s --lr 3e-3 --out "$out/run"
echo; echo "== evaluation on held-out text"
"$kiln" eval --model "$out/run" --data "$out/held-out.txt" --context 128 --batch 16
echo; echo "== a sample"
"$kiln" generate --model "$out/run" --prompt "$(cat "$out/prompt.txt")" --max-tokens 90 --temperature 0.7 --top-p 0.95 --seed 1
echo
echo "report: $out/run/report.html"
echo "model:  $out/run (config.json, model.safetensors, tokenizer.json)"
