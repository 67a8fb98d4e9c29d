"""The tiny models of the golden vectors: their configurations and seeded random weights."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

VOCAB_SIZE = 96


def gpt2():
  config = GPT2Config(
    vocab_size=VOCAB_SIZE, n_positions=32, n_embd=32, n_layer=2, n_head=4,
    resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
  return randomized(GPT2LMHeadModel(config), seed=1)


def llama():
  config = LlamaConfig(
    vocab_size=VOCAB_SIZE, hidden_size=32, intermediate_size=56, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False)
  return randomized(LlamaForCausalLM(config), seed=2)


def llama_rope3_tied():
  """Eight frequencies, of which one is kept, one is interpolated and the others are divided by `factor`."""
  config = LlamaConfig(
    vocab_size=VOCAB_SIZE, hidden_size=32, intermediate_size=56, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, head_dim=16, attention_bias=True,
    max_position_embeddings=64, tie_word_embeddings=True,
    rope_parameters={
      "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
      "high_freq_factor": 4.0, "original_max_position_embeddings": 32})
  return randomized(LlamaForCausalLM(config), seed=3)


def randomized(model, seed, std=0.2):
  """Weights and biases ~ N(0, std), norm gains ~ N(1, std): large enough that no gradient is lost in rounding."""
  generator = torch.Generator().manual_seed(seed)
  with torch.no_grad():
    for name, parameter in sorted(model.named_parameters()):
      is_gain = parameter.ndim == 1 and name.endswith("weight")
      parameter.normal_(1.0 if is_gain else 0.0, std, generator=generator)
  return model
