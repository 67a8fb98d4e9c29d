"""DeepSpeed's CPU Adam, whose kernel a C++ compiler builds at the first use."""
from functools import partial

import deepspeed
import torch
from deepspeed.ops.adam import DeepSpeedCPUAdam

import torch_peer


class Peer:
  def __init__(self, name, threads):
    torch.set_num_threads(threads)
    self.note = f"deepspeed {deepspeed.__version__}, CPU Adam"

  def prepare(self, case):
    if case["work"] != "adamw":
      raise NotImplementedError("only adamw")
    torch.manual_seed(0)
    return torch_peer.adamw(case, partial(DeepSpeedCPUAdam, adamw_mode=True))
