"""Loads a directory written by Kiln with transformers and prints its mean loss over a list of tokens.

usage: check_export.py DIR TOKENS.json CONTEXT     (TOKENS.json: a list of token ids, or an object with "tokens")
"""

import json
import pathlib
import sys

import torch
import transformers

from reference import evaluate


def main(directory, tokens_file, context):
  tokens = json.loads(pathlib.Path(tokens_file).read_text())
  if isinstance(tokens, dict):
    tokens = tokens["tokens"]
  model, loading = transformers.AutoModelForCausalLM.from_pretrained(
    directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
  faults = {kind: names for kind, names in loading.items() if names}
  if faults:
    sys.exit(f"error: {directory}: the tensors do not fit the model: {faults}")
  loss, _ = evaluate(model, tokens, int(context))
  print(repr(loss))


if __name__ == "__main__":
  if len(sys.argv) != 4:
    sys.exit(__doc__)
  torch.set_num_threads(1)
  main(*sys.argv[1:])
