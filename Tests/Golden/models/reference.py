"""The rules the golden vectors follow: batches, loss, evaluation, optimizers, training and greedy generation."""

import dataclasses
import math

import torch
import torch.nn.functional as F


@dataclasses.dataclass(frozen=True)
class Settings:
  """One training run. Fields that an optimizer does not know keep their defaults; `grad_clip` 0 means off."""

  optimizer: str
  lr: float
  weight_decay: float
  momentum: float = 0.0
  betas: tuple = (0.9, 0.95)
  eps: float = 1e-8
  grad_clip: float = 0.0
  batch: int = 2
  micro_batch: int = 2
  optimizer_state: str = "fp32"


def sequential_batch(tokens, context, batch, step):
  """Sequence i takes tokens [iT, iT + T]: T inputs and their T next-token targets."""
  sequences = [tokens[i * context:(i + 1) * context + 1] for i in range(step * batch, (step + 1) * batch)]
  assert len(sequences[-1]) == context + 1, "the tokens do not reach for all steps without wrapping"
  block = torch.tensor(sequences)
  return block[:, :-1], block[:, 1:]


def mean_loss(model, inputs, targets):
  logits = model(input_ids=inputs, use_cache=False).logits
  return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


@torch.no_grad()
def evaluate(model, tokens, context):
  """Walks the tokens in windows of `context`, the last partial one included; returns (mean loss, target tokens)."""
  total, count = 0.0, 0
  for start in range(0, len(tokens) - 1, context):
    window = torch.tensor(tokens[start:start + context + 1])
    logits = model(input_ids=window[None, :-1], use_cache=False).logits[0]
    total += F.cross_entropy(logits, window[1:], reduction="sum").item()
    count += len(window) - 1
  return total / count, count


def make_optimizer(model, settings):
  """Weight decay applies to tensors of two and more dimensions only."""
  parameters = list(model.parameters())
  groups = [
    {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
    {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
  ]
  if settings.optimizer in ("sgd", "momentum", "nesterov"):
    nesterov = settings.optimizer == "nesterov"
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=nesterov)
  if settings.optimizer_state == "8bit":
    import torchao.optim
    method = {"adam": torchao.optim.Adam8bit, "adamw": torchao.optim.AdamW8bit}[settings.optimizer]
    return method(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps)
  if settings.optimizer in ("adam", "adamw"):
    method = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
    return method(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps)
  if settings.optimizer == "muon":
    return Muon(model, settings)
  return make_other_optimizer(groups, settings)


def make_other_optimizer(groups, settings):
  """The public implementations beside torch's: lion-pytorch, timm, transformers."""
  lr = settings.lr
  match settings.optimizer:
    case "heavy-ball":
      return HeavyBall(groups, {"lr": lr, "momentum": settings.momentum})
    case "lion":
      import lion_pytorch
      return lion_pytorch.Lion(groups, lr=lr, betas=settings.betas)
    case "lars":
      import timm.optim
      return timm.optim.Lars(groups, lr=lr, momentum=settings.momentum)
    case "lamb":
      import timm.optim
      return timm.optim.Lamb(groups, lr=lr, betas=settings.betas, eps=settings.eps, max_grad_norm=None)
    case "schedule-free":
      import schedulefree
      return schedulefree.AdamWScheduleFree(groups, lr=lr, betas=settings.betas, eps=settings.eps)
    case "adafactor":
      import transformers.optimization
      return transformers.optimization.Adafactor(groups, lr=lr, relative_step=False, scale_parameter=False)
  raise ValueError(settings.optimizer)


class Muon:
  """torch's for projections, in the weights' own precision instead of bf16, and AdamW for the rest. Queries, keys and
  values that lie side by side in one weight are three matrices."""

  def __init__(self, model, settings):
    projections = {p: name for name, p in model.named_parameters()
                   if p.ndim == 2 and not any(part in name for part in ("wte", "wpe", "embed", "lm_head"))}
    self.model = model
    self.parts = [(p, torch.nn.Parameter(part), columns) for p, name in projections.items()
                  for part, columns in self.split(p, 3 if "c_attn" in name else 1)]
    others = [p for p in model.parameters() if p not in projections]
    decay, lr = settings.weight_decay, settings.lr
    self.muon = torch.optim.Muon([part for _, part, _ in self.parts], lr=lr, momentum=settings.momentum,
                                 weight_decay=decay, adjust_lr_fn="match_rms_adamw")
    self.adamw = torch.optim.AdamW(
      [{"params": [p for p in others if p.ndim >= 2], "weight_decay": decay},
       {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0}],
      lr=lr, betas=settings.betas, eps=settings.eps)

  @staticmethod
  def split(p, parts):
    width = p.shape[1] // parts
    columns = [slice(i * width, (i + 1) * width) for i in range(parts)]
    return [(p.data[:, each], each) for each in columns]

  def zero_grad(self):
    self.model.zero_grad()

  def step(self):
    for p, part, columns in self.parts:
      part.grad = p.grad[:, columns].clone()
    narrow, torch.Tensor.bfloat16 = torch.Tensor.bfloat16, lambda x: x.clone()
    self.muon.step()
    torch.Tensor.bfloat16 = narrow
    self.adamw.step()


class HeavyBall(torch.optim.Optimizer):
  """Polyak's: v = momentum v - lr (g + weight_decay w), w += v."""

  @torch.no_grad()
  def step(self):
    for group in self.param_groups:
      for p in group["params"]:
        velocity = self.state[p].setdefault("velocity", torch.zeros_like(p))
        velocity.mul_(group["momentum"]).sub_(p.grad + group["weight_decay"] * p, alpha=group["lr"])
        p.add_(velocity)


def gradient_norm(model):
  """The global L2 norm, summed in float64."""
  return math.sqrt(sum(p.grad.double().square().sum().item() for p in model.parameters()))


def backward(model, loss, scale):
  """Gradients of the loss, which is multiplied by a power of 2 on the way."""
  (scale * loss).backward()
  for parameter in model.parameters():
    parameter.grad /= scale


def train(model, tokens, context, steps, settings, scale=1.0):
  """Returns each step's loss before the update and gradient norm before clipping."""
  optimizer = make_optimizer(model, settings)
  if settings.optimizer == "schedule-free":
    optimizer.train()
  losses, norms = [], []
  for step in range(steps):
    optimizer.zero_grad()
    loss = mean_loss(model, *sequential_batch(tokens, context, settings.batch, step))
    backward(model, loss, scale)
    losses.append(loss.item())
    norms.append(gradient_norm(model))
    if settings.grad_clip > 0:
      torch.nn.utils.clip_grad_norm_(model.parameters(), settings.grad_clip)
    optimizer.step()
  return losses, norms


@torch.no_grad()
def generate_greedily(model, prompt, count):
  """Returns `count` new tokens, with no stopping at special tokens, and the smallest lead of a winning logit."""
  tokens, lead = list(prompt), math.inf
  for _ in range(count):
    logits = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1]
    best = logits.topk(2)
    lead = min(lead, (best.values[0] - best.values[1]).item())
    tokens.append(best.indices[0].item())
  return tokens[len(prompt):], lead
