"""A GPT-2 in torch: learned positions, biases, tanh GELU, output projection tied to the embedding, no dropout."""
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
  def __init__(self, width, heads):
    super().__init__()
    self.heads = heads
    self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
    self.qkv, self.attention_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
    self.mlp_in, self.mlp_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

  def forward(self, x, cache=None, position=0):
    heads = self.qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1))
    q, k, v = heads.permute(2, 0, 3, 1, 4).unbind()  # each [batch, heads, time, width of a head]
    if cache is not None:
      cache[:, :, :, position] = torch.stack((k, v)).squeeze(3)
      k, v = cache[:, :, :, : position + 1].unbind()
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=cache is None)
    x = x + self.attention_out(mixed.transpose(1, 2).flatten(2))
    return x + self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x)), approximate="tanh"))


class GPT(nn.Module):
  def __init__(self, layers, width, heads, vocabulary, positions):
    super().__init__()
    self.embedding, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
    self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
    self.norm = nn.LayerNorm(width)
    self.checkpoints = False  # whether blocks run again in the backward
    for parameter in self.parameters():
      if parameter.ndim == 2:
        nn.init.normal_(parameter, std=0.02)

  def forward(self, tokens, caches=None, position=0):
    """The logits [batch, time, vocabulary]; with `caches`, of the one token at `position`."""
    x = self.embedding(tokens) + self.positions(torch.arange(position, position + tokens.shape[1]))
    for index, block in enumerate(self.blocks):
      if self.checkpoints:
        x = checkpoint(block, x, use_reentrant=False)
      else:
        x = block(x) if caches is None else block(x, caches[index], position)
    return F.linear(self.norm(x), self.embedding.weight)


def build(case, positions):
  return GPT(*(case[field] for field in ("layers", "width", "heads", "vocabulary")), positions)


def training_step(case, dtype, make_optimizer, optimize):
  """One step of training on the same random tokens; bfloat16 is autocast. Returns the loss before the update."""
  model = build(case, case["time"])
  model.checkpoints = case.get("op") == "checkpoint"
  tokens = torch.randint(case["vocabulary"], (case["batch"], case["time"] + 1))
  precision = partial(torch.autocast, "cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)

  def mean_loss(tokens, targets):
    return F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())

  return partial(
    train, optimize(mean_loss), make_optimizer(model.parameters()), precision,
    tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())


def train(mean_loss, optimizer, precision, tokens, targets):
  with precision():
    loss = mean_loss(tokens, targets)
  loss.backward()
  optimizer.step()
  optimizer.zero_grad(set_to_none=True)
  return loss.item()


def greedy(case, dtype):
  """Greedy decoding from token 0, one token at a time with cached keys and values. Returns the tokens."""
  return partial(decode, build(case, case["tokens"]).to(dtype), case["tokens"])


@torch.inference_mode()
def decode(model, count):
  width, heads = model.embedding.embedding_dim, model.blocks[0].heads
  caches = model.norm.weight.new_empty(len(model.blocks), 2, 1, heads, count, width // heads)
  tokens = [torch.zeros(1, 1, dtype=torch.long)]
  for position in range(count):
    tokens.append(model(tokens[-1], caches, position)[:, -1].argmax(-1, keepdim=True))
  return torch.cat(tokens, 1)
