"""Each peer computes what its case says, and the worker keeps its protocol. Run: .peers/bin/python Peers/test_worker.py

Peers that are not installed here are named and passed over.
"""
import json
import subprocess
import sys

import worker

worker.set_environment(threads=2)

import numpy
import torch
import torch.nn.functional as F

import torch_gpt
import torch_peer

PROBES = {
  "torch": {"work": "adamw", "count": 4},
  "torch_compile": {"work": "activation", "op": "silu", "rows": 2, "channels": 4, "dtype": "float32"},
  "numpy": {"work": "gemm", "op": "fwd", "m": 1, "n": 1, "k": 1, "dtype": "float32"},
  "openblas": {"work": "gemm", "op": "fwd", "m": 1, "n": 1, "k": 1, "dtype": "float32"},
  "deepspeed": {"work": "adamw", "count": 4},
}
GPT = {"layers": 2, "width": 32, "heads": 2, "vocabulary": 61}


def close(actual, expected, tolerance):
  actual, expected = (torch.as_tensor(value).double() for value in (actual, expected))
  assert actual.shape == expected.shape, (actual.shape, expected.shape)
  assert expected.abs().max() > 0, "a result of zeros proves nothing"
  error = (actual - expected).abs().max() / expected.abs().max()
  assert error < tolerance, f"off by {error:.2g}"


def gradients(function, inputs, upstream):
  """Output and gradients in double precision."""
  wide = [value.detach().double().requires_grad_() for value in inputs]
  output = function(*wide)
  return output, *torch.autograd.grad(output, wide, upstream if upstream is None else upstream.double())


def check_gemm(peer, dtypes):
  """Also with the vectors of length 1, of which a transposed view looks like any other."""
  for dtype, tolerance in dtypes.items():
    for op in ("fwd", "dx", "dw"):
      for m, n, k in ((5, 7, 9), (1, 7, 9), (5, 1, 9), (5, 7, 1)):
        run = peer.prepare({"work": "gemm", "op": op, "m": m, "n": n, "k": k, "dtype": dtype})
        a, b = (torch.as_tensor(factor).double() for factor in run.args[-2:])
        assert (a.shape[0], b.shape[1], a.shape[1]) == {"fwd": (m, n, k), "dx": (m, k, n), "dw": (n, k, m)}[op]
        close(run(), a @ b, tolerance)


def check_gradients(peer, case, function, tolerance=2e-5):
  """A forward and backward run against the plain formula."""
  run = peer.prepare({"dtype": "float32", **case})
  _, inputs, *upstream = run.args
  for actual, expected in zip(run(), gradients(function, inputs, *(upstream or [None])), strict=True):
    close(actual, expected, tolerance)


def causal(q, k, v):
  time, width = q.shape[-2:]
  scores = q @ k.transpose(-1, -2) / width**0.5
  return scores.masked_fill(torch.ones(time, time).triu(1).bool(), -torch.inf).softmax(-1) @ v


def layer_norm(x, w, b):
  return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt() * w + b


def rms_norm(x, w):
  return x / x.square().mean(-1, keepdim=True).sqrt() * w


def gelu_tanh(x):
  return x / 2 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


def check_compilable(peer):
  rows = {"rows": 6, "channels": 40}
  check_gradients(peer, {"work": "norm", "op": "layer_norm", **rows}, layer_norm)
  check_gradients(peer, {"work": "norm", "op": "rms_norm", **rows}, rms_norm)
  check_gradients(peer, {"work": "activation", "op": "gelu_tanh", **rows}, gelu_tanh)
  check_gradients(peer, {"work": "activation", "op": "silu", **rows}, lambda x: x * torch.sigmoid(x))
  run = peer.prepare({"work": "loss", "vocabulary": 50, "dtype": "bfloat16", **rows})
  mean_loss, dx, dw = run()
  assert (dx.shape, dw.shape) == ((6, 40), (50, 40)) and 3 < mean_loss < 5
  for dtype in ("float32", "bfloat16"):
    run = peer.prepare({"work": "step", "batch": 2, "time": 16, "dtype": dtype, **GPT})
    losses = [run() for _ in range(5)]
    assert losses == sorted(losses, reverse=True) and 3.5 < losses[0] < 4.8, losses


def check_eager(peer):
  check_gemm(peer, {"float32": 1e-5, "bfloat16": 1e-2, "int8": 0})
  heads = {"work": "attention", "batch": 2, "heads": 3, "time": 33, "width": 16}
  check_gradients(peer, {"op": "fwd_bwd", **heads}, causal)
  run = peer.prepare({"op": "fwd", "dtype": "bfloat16", **heads})
  close(run(), causal(*(value.double() for value in run.args)), 1e-2)
  check_greedy(peer)


def check_greedy(peer):
  """Decoding with cached keys and values chooses what the whole context chooses."""
  run = peer.prepare({"work": "generation", "tokens": 12, "dtype": "float32", **GPT})
  tokens = run()
  with torch.no_grad():
    assert (run.args[0](tokens[:, :-1]).argmax(-1) == tokens[:, 1:]).all() and tokens.shape == (1, 13)


def check_adamw(peer):
  run = peer.prepare({"work": "adamw", "count": 1000})
  w = run.args[1].detach().double()
  g = run.args[1].grad.double()
  for _ in range(3):  # the same gradient each time: both moments, bias-corrected, are g and g^2
    updated = run()
    w = w * (1 - 1e-4 * 0.1) - 1e-4 * g / (g.abs() + 1e-8)
  close(updated.detach(), w, 1e-5)


def check_protocol(name):
  """Errors are answered, and the worker goes on to do its case."""
  requests = [
    "no JSON", {"run": 1}, {"prepare": {"work": "weaving"}}, {"prepare": {}}, {"prepare": PROBES[name]}, {"run": 2},
    {"run": 0}, {"release": True}, {"run": 1}]
  lines = [request if isinstance(request, str) else json.dumps(request) for request in requests]
  process = subprocess.run(
    [sys.executable, worker.__file__, "--peer", name, "--threads", "2"], input="\n".join(lines), text=True,
    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
  answers = [json.loads(line) for line in process.stdout.splitlines()]
  assert [place for place, answer in enumerate(answers) if "error" in answer] == [0, 1, 3, 6, 8], answers
  assert "unsupported" in answers[2] and answers[4]["ok"] and answers[4]["note"] and answers[7] == {"ok": True}
  assert 0 < answers[5]["seconds"] < 1, answers[5]
  if sys.platform == "linux":
    assert answers[5]["resident"] > answers[5]["bytes"] >= 0, answers[5]


CHECKS = {
  "torch": [check_eager, check_compilable, check_adamw],
  "torch_compile": [check_compilable],
  "numpy": [lambda peer: check_gemm(peer, {"float32": 1e-5})],
  "openblas": [lambda peer: check_gemm(peer, {"float32": 1e-5})],
  "deepspeed": [check_adamw],
}


def main():
  passed = skipped = 0
  for name, checks in CHECKS.items():
    behind = worker.Worker(name, threads=2)
    answer = behind.prepare(PROBES[name])
    if "unsupported" in answer:
      print(f"{name}: skipped: {answer['unsupported']}")
      skipped += 1
      continue
    for check in checks:
      check(behind.peer)
    check_protocol(name)
    print(f"{name}: passed ({answer['note']})")
    passed += 1
  print(f"{passed} passed, 0 failed, {skipped} skipped")


if __name__ == "__main__":
  main()
