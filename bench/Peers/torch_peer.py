"""PyTorch on the CPU, eager (torch) or under torch.compile (torch_compile)."""
import time
from functools import lru_cache, partial

import torch
import torch.nn.functional as F

import torch_gpt
from cases import gemm_operands

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ADAMW = {"lr": 1e-4, "weight_decay": 0.1}
LONGEST = 20  # seconds that one run may take


class Peer:
  def __init__(self, name, threads):
    torch.set_num_threads(threads)
    backends = {"MKL": torch.backends.mkl, "oneDNN": torch.backends.mkldnn}
    present = [backend for backend, module in backends.items() if module.is_available()]
    self.compiled = name == "torch_compile"
    self.note = ", ".join([f"torch {torch.__version__}", *present])

  def prepare(self, case):
    torch.manual_seed(0)
    works = COMPILABLE if self.compiled else COMPILABLE | EAGER_ONLY
    if case["work"] not in works:
      raise NotImplementedError(f"only {', '.join(works)}")
    check_length(case)
    make = works[case["work"]]
    return compiled(make, case) if self.compiled else make(case)


def check_length(case):
  """Leaves out what takes too long: torch multiplies narrow numbers slowly where the CPU has no instruction for it."""
  flops = product_flops(case)
  if flops == 0 or case["dtype"] == "float32":
    return
  ops = [case["op"]] if case["work"] == "gemm" else ["fwd", "dx", "dw"]
  seconds = sum(flops / len(ops) / pace(op, case["dtype"]) for op in ops)
  if seconds > LONGEST:
    raise NotImplementedError(f"about {seconds:.0f} s a run: this CPU has no instruction for products of {case['dtype']}")


def product_flops(case):
  """Of the products of matrices, which are nearly all of what takes long."""
  if case["work"] == "gemm":
    return 2 * case["m"] * case["n"] * case["k"]
  if case["work"] == "loss":
    return 6 * case["rows"] * case["channels"] * case["vocabulary"]
  if case["work"] == "step":
    weights = 12 * case["layers"] * case["width"] ** 2 + case["vocabulary"] * case["width"]
    return 6 * case["batch"] * case["time"] * weights
  return 0


@lru_cache
def pace(op, dtype):
  """Operations a second of a product of narrow numbers, the second time that it runs."""
  size = 384
  run = gemm({"op": op, "m": size, "n": size, "k": size, "dtype": dtype})
  run()
  start = time.perf_counter()
  run()
  return 2 * size**3 / (time.perf_counter() - start)


def compiled(make, case):
  """Compiles, which takes many seconds, before the warm-up begins."""
  torch._dynamo.reset()
  run = make(case, partial(torch.compile, dynamic=False))
  run()
  return run


def eager(function):
  return function


def dtype(case):
  if case["dtype"] not in DTYPES:
    raise NotImplementedError(f"no dtype {case['dtype']}")
  return DTYPES[case["dtype"]]


def normal(case, *shape, gradient=False):
  """Random numbers of the case's type."""
  return torch.randn(shape, dtype=dtype(case)).requires_grad_(gradient)


def forward_backward(function, inputs, upstream=None):
  """The output and the gradient of each input."""
  output = function(*inputs)
  return output.detach(), *torch.autograd.grad(output, inputs, upstream)


def gemm(case):
  if case["dtype"] == "int8":
    a, b = gemm_operands(case, lambda *shape: torch.randint(-127, 128, shape, dtype=torch.int8))
    return partial(torch._int_mm, a, b)
  a, b = gemm_operands(case, partial(normal, case))
  return partial(torch.mm, a, b, out=a.new_empty(a.shape[0], b.shape[1]))


def attention(case):
  shape = [case[field] for field in ("batch", "heads", "time", "width")]
  function = partial(F.scaled_dot_product_attention, is_causal=True)
  if case["op"] == "fwd":
    return partial(function, *(normal(case, *shape) for _ in range(3)))
  if case["op"] == "fwd_bwd":
    inputs = tuple(normal(case, *shape, gradient=True) for _ in range(3))
    return partial(forward_backward, function, inputs, normal(case, *shape))
  raise NotImplementedError(f"attention has no op {case['op']}")


def loss(case, optimize=eager):
  x = normal(case, case["rows"], case["channels"], gradient=True)
  w = normal(case, case["vocabulary"], case["channels"]).mul_(0.02).requires_grad_()
  targets = torch.randint(case["vocabulary"], (case["rows"],))
  return partial(forward_backward, optimize(lambda x, w: F.cross_entropy(F.linear(x, w), targets)), (x, w))


def norm(case, optimize=eager):
  channels = case["channels"]
  functions = {
    "layer_norm": lambda x, w, b: F.layer_norm(x, (channels,), w, b),
    "rms_norm": lambda x, w: F.rms_norm(x, (channels,), w),
  }
  parameters = [normal(case, channels, gradient=True) for _ in range(2 if case["op"] == "layer_norm" else 1)]
  return rowwise(case, functions, parameters, optimize)


def activation(case, optimize=eager):
  return rowwise(case, {"gelu_tanh": partial(F.gelu, approximate="tanh"), "silu": F.silu}, [], optimize)


def rowwise(case, functions, parameters, optimize):
  """Forward and backward of one of `functions` over rows x channels."""
  if case["op"] not in functions:
    raise NotImplementedError(f"{case['work']} has no op {case['op']}")
  shape = case["rows"], case["channels"]
  inputs = normal(case, *shape, gradient=True), *parameters
  return partial(forward_backward, optimize(functions[case["op"]]), inputs, normal(case, *shape))


def adamw(case, optimizer=partial(torch.optim.AdamW, fused=True)):
  parameter = torch.nn.Parameter(torch.randn(case["count"]) * 0.02)
  parameter.grad = torch.randn_like(parameter) * 1e-3
  return partial(update, optimizer([parameter], **ADAMW), parameter)


def update(optimizer, parameter):
  optimizer.step()
  return parameter


def step(case, optimize=eager):
  return torch_gpt.training_step(case, dtype(case), partial(torch.optim.AdamW, fused=True, **ADAMW), optimize)


def generation(case):
  return torch_gpt.greedy(case, dtype(case))


EAGER_ONLY = {"gemm": gemm, "attention": attention, "adamw": adamw, "generation": generation}
COMPILABLE = {"loss": loss, "norm": norm, "activation": activation, "step": step}
