"""Writes the golden vectors of the models, made by transformers and PyTorch. ../README.md describes the files."""

import copy
import dataclasses
import json
import pathlib
import random
import shutil

import safetensors
import safetensors.torch
import torch
import transformers

import tiny_models
from reference import Settings, backward, evaluate, generate_greedily, mean_loss, sequential_batch, train

CONTEXT, STEPS = 16, 10
PROMPT_LENGTH, NEW_TOKENS = 5, 24

# For each optimizer: its settings, and a clip value below the gradient norm of at least some steps.
RUNS = [
  Settings("sgd", lr=0.05, weight_decay=0.01),
  Settings("momentum", lr=0.05, weight_decay=0.01, momentum=0.9),
  Settings("nesterov", lr=0.05, weight_decay=0.01, momentum=0.9),
  Settings("adam", lr=0.003, weight_decay=0.1),
  Settings("adamw", lr=0.003, weight_decay=0.1),
]
GRAD_CLIP = 1.0
ACCUMULATION = Settings("adamw", lr=0.003, weight_decay=0.1, grad_clip=GRAD_CLIP, batch=4, micro_batch=2)


def make_tokens(count, seed=7):
  """A noisy arithmetic walk: something to learn, yet every token occurs."""
  generator = random.Random(seed)
  tokens = [generator.randrange(tiny_models.VOCAB_SIZE)]
  while len(tokens) < count:
    tokens.append((3 * tokens[-1] + generator.choice([1, 2, 5, 40])) % tiny_models.VOCAB_SIZE)
  return tokens


def load(directory, dtype=torch.float32):
  return transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, attn_implementation="eager")


def run(model, tokens, settings):
  """Trains a copy of the model. Also in float64, so that no vector is kept which hangs on float32 rounding."""
  losses, norms = train(copy.deepcopy(model), tokens, CONTEXT, STEPS, settings)
  exact_losses, exact_norms = train(copy.deepcopy(model).double(), tokens, CONTEXT, STEPS, settings)
  deviation = max(abs(a / b - 1) for a, b in zip(losses + norms, exact_losses + exact_norms))
  print(f"  {settings.optimizer:9} clip {settings.grad_clip}: loss {losses[0]:.3f} -> {losses[-1]:.3f},"
        f" norm {min(norms):.2f} .. {max(norms):.2f}, off float64 by {deviation:.1e}")
  # Muon lifts the smallest singular values, which are rounding, to the size of the largest; a state that rounding
  # brings across the border of two codes of 8 bits differs by one.
  loose = settings.optimizer == "muon" or settings.optimizer_state != "fp32"
  assert deviation < (5e-5 if loose else 1e-5), "badly conditioned: choose other settings"
  assert settings.grad_clip == 0 or max(norms) > settings.grad_clip, "this never clips"
  return dataclasses.asdict(settings) | {"loss": losses, "grad_norm": norms}


def continue_prompt(model, prompt):
  tokens, lead = generate_greedily(model, prompt, NEW_TOKENS)
  assert lead > 1e-3, "nearly a tie: choose another prompt"
  assert model.config.eos_token_id not in tokens, "a special token: choose another prompt"
  print(f"  {prompt} -> {tokens}")
  return {"prompt": prompt, "tokens": tokens}


def first_step(model, tokens, scale=1.0):
  """Logits of the first sequence and every gradient of the first batch, by name."""
  model = copy.deepcopy(model)
  inputs, targets = sequential_batch(tokens, CONTEXT, RUNS[0].batch, 0)
  logits = model(input_ids=inputs[:1], use_cache=False).logits[0]
  backward(model, mean_loss(model, inputs, targets), scale)
  return logits.detach(), {name: parameter.grad for name, parameter in model.named_parameters()}


def write_golden(directory):
  model = load(directory)
  tokens = make_tokens(STEPS * ACCUMULATION.batch * CONTEXT + 10)
  logits, gradients = first_step(model, tokens)
  safetensors.torch.save_file({"logits_first": logits}, directory / "logits.safetensors")
  safetensors.torch.save_file(gradients, directory / "gradients.safetensors")
  settings = [dataclasses.replace(each, grad_clip=clip) for each in RUNS for clip in (0.0, GRAD_CLIP)]
  loss, count = evaluate(model, tokens, CONTEXT)
  golden = {
    "versions": {module.__name__: module.__version__ for module in (torch, transformers, safetensors)},
    "vocab_size": tiny_models.VOCAB_SIZE,
    "context": CONTEXT,
    "tokens": tokens,
    "runs": [run(model, tokens, each) for each in settings],
    "accumulation": run(model, tokens, ACCUMULATION),
    "generation": [continue_prompt(model, tokens[i:i + PROMPT_LENGTH]) for i in (0, 100)],
    "eval": {"loss": loss, "tokens": count},
  }
  lines = ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in golden.items())
  (directory / "golden.json").write_text("{\n" + lines + "\n}\n")


def make(name, model, **saving):
  print(name)
  directory = pathlib.Path(__file__).parent / name
  shutil.rmtree(directory, ignore_errors=True)
  model.save_pretrained(directory, **saving)
  write_golden(directory)


if __name__ == "__main__":
  torch.set_num_threads(1)
  torch.use_deterministic_algorithms(True)
  make("gpt2-tiny", tiny_models.gpt2())
  make("gpt2-tiny-bf16", tiny_models.gpt2().bfloat16(), max_shard_size="30KB")
  make("llama-tiny", tiny_models.llama())
  make("llama-rope3-tied", tiny_models.llama_rope3_tied())
