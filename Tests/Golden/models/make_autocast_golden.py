"""Writes bf16.json and fp16.json beside each model's golden vectors: the same run under PyTorch's autocast.

How far autocast strays from float32 is the measure of how far another implementation may stray in that type.
"""

import copy
import dataclasses
import json
import pathlib

import torch

from make_model_golden import ACCUMULATION, CONTEXT, STEPS, first_step, load
from reference import train

SETTINGS = dataclasses.replace(ACCUMULATION, batch=4, micro_batch=4)
NAMES = ("gpt2-tiny", "llama-tiny", "llama-rope3-tied")
# A type, and what the loss is multiplied by in it.
TYPES = {"bf16": (torch.bfloat16, 1.0), "fp16": (torch.float16, 2.0 ** 16)}


def gradient_error(narrow, wide):
  """The distance of all gradients together, relative to their norm."""
  distance = sum((narrow[name].float() - wide[name]).double().square().sum() for name in wide)
  return (distance / sum(wide[name].double().square().sum() for name in wide)).sqrt().item()


def write(directory, name, dtype, scale):
  tokens = json.loads((directory / "golden.json").read_text())["tokens"]
  model = load(directory)
  losses, norms = train(copy.deepcopy(model), tokens, CONTEXT, STEPS, SETTINGS)
  # The cache would keep the first step's weights for all of them.
  with torch.autocast("cpu", dtype=dtype, cache_enabled=False):
    narrow_losses, narrow_norms = train(copy.deepcopy(model), tokens, CONTEXT, STEPS, SETTINGS, scale)
    _, narrow = first_step(model, tokens, scale)
  _, wide = first_step(model, tokens)
  error = gradient_error(narrow, wide)
  print(directory.name, name, "loss", max(abs(a - b) for a, b in zip(losses, narrow_losses)),
        "norm", max(abs(a / b - 1) for a, b in zip(norms, narrow_norms)), "gradient", error)
  golden = dataclasses.asdict(SETTINGS) | {
    "loss": losses, "grad_norm": norms, "autocast_loss": narrow_losses, "autocast_grad_norm": narrow_norms,
    "autocast_gradient_error": error}
  lines = ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in golden.items())
  (directory / f"{name}.json").write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
  torch.set_num_threads(1)
  for model in NAMES:
    for name, (dtype, scale) in TYPES.items():
      write(pathlib.Path(__file__).parent / model, name, dtype, scale)
