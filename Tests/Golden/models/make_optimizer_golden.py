"""Writes optimizers.json: ten steps by optimizers beyond SGD and Adam, and by Adam with states of 8 bits. Needs
lion-pytorch, schedulefree, timm and torchao.

Versions, and as in golden.json the losses and norms of each run, with and without clipping.
"""

import dataclasses
import importlib.metadata
import json
import pathlib

import torch

from make_model_golden import ACCUMULATION, CONTEXT, GRAD_CLIP, STEPS, load, make_tokens, run
from reference import Settings

RUNS = [
  Settings("heavy-ball", lr=0.05, weight_decay=0.01, momentum=0.9),
  Settings("lion", lr=0.001, weight_decay=0.1, betas=(0.9, 0.99)),
  Settings("lars", lr=1.0, weight_decay=0.01, momentum=0.9),
  Settings("lamb", lr=0.01, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-6),
  Settings("muon", lr=0.0005, weight_decay=0.1, momentum=0.95),
  Settings("adam", lr=0.003, weight_decay=0.0, betas=(0.9, 0.95), optimizer_state="8bit"),
  Settings("adamw", lr=0.003, weight_decay=0.1, betas=(0.9, 0.95), optimizer_state="8bit"),
  Settings("schedule-free", lr=0.003, weight_decay=0.01, betas=(0.9, 0.999)),
]
# It divides by the gradient's own size: the gradient of GPT-2's key biases, 0 but for rounding, would be all noise.
LLAMA_RUNS = [Settings("adafactor", lr=0.003, weight_decay=0.01)]

if __name__ == "__main__":
  torch.set_num_threads(1)
  torch.use_deterministic_algorithms(True)
  tokens = make_tokens(STEPS * ACCUMULATION.batch * CONTEXT + 10)
  for name, runs in (("gpt2-tiny", RUNS), ("llama-tiny", RUNS + LLAMA_RUNS)):
    directory = pathlib.Path(__file__).parent / name
    model = load(directory)
    golden = {
      "versions": {package: importlib.metadata.version(package)
                   for package in ("torch", "transformers", "lion-pytorch", "schedulefree", "timm", "torchao")},
      "runs": [run(model, tokens, dataclasses.replace(each, grad_clip=clip))
               for each in runs for clip in (0.0, GRAD_CLIP)],
    }
    lines = ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in golden.items())
    (directory / "optimizers.json").write_text("{\n" + lines + "\n}\n")
