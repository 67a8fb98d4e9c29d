"""Writes quant.json: what public implementations make of some numbers. Arrays are base64 of little-endian bytes.

float8: torch casts, of numbers clamped to the type's range. gguf: gguf.quants. nf4 and dynamic: the plain PyTorch kernels
of bitsandbytes (its compiled ones for CPUs take the neighbouring code now and then). int8: torchao, a scale a row.
"""
import base64
import json
import pathlib

import bitsandbytes.functional as bnb
import gguf.quants
import numpy as np
import torch
from torchao.prototype.quantized_training.int8 import quantize_int8_rowwise

QuantizationType = gguf.GGMLQuantizationType
generator = torch.Generator().manual_seed(7)


def pack(array):
    array = array.numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def plain(op, *arguments):
    """The kernel registered for all devices."""
    return op.redispatch(torch._C.DispatchKeySet(torch._C.DispatchKey.CompositeExplicitAutograd), *arguments)


def normal(*shape):
    return torch.randn(*shape, generator=generator)


def float8():
    x = normal(1500) * torch.exp(4 * normal(1500))
    golden = {"x": pack(x)}
    for name, dtype in (("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)):
        most = torch.finfo(dtype).max
        golden[name] = pack(x.clamp(-most, most).to(dtype).view(torch.uint8))
    return golden


def blocks():
    x = normal(6, 96) * torch.exp(2 * normal(6, 1))
    x[1, :32], x[2, 32:64], x[3, :32] = 0, 1.5, -2
    golden = {"x": pack(x)}
    for kind in (QuantizationType.Q4_0, QuantizationType.Q4_1, QuantizationType.Q8_0):
        encoded = gguf.quants.quantize(x.numpy(), kind)
        golden[kind.name] = {"blocks": pack(encoded), "y": pack(gguf.quants.dequantize(encoded, kind))}
    return golden


def nf4():
    x = normal(64 * 33) * torch.exp(normal(33).repeat_interleave(64))
    ops = torch.ops.bitsandbytes
    codes, absmax = plain(ops.quantize_4bit.default, x, 64, "nf4", torch.uint8)
    offset = absmax.double().mean().float()  # in float32 its last bit depends on the order of the sum
    nested, scales = plain(ops.quantize_blockwise.default, absmax - offset, bnb.create_dynamic_map(), 256)
    restored = plain(ops.dequantize_blockwise.default, nested, scales, bnb.create_dynamic_map(), 256, torch.float32)
    y = plain(ops.dequantize_4bit.default, codes, restored + offset, 64, "nf4", x.shape, torch.float32)
    return {"x": pack(x), "codes": pack(codes), "absmax": pack(absmax), "offset": pack(offset), "nested": pack(nested),
            "scales": pack(scales), "y": pack(y)}


def dynamic(is_signed):
    x = normal(256 * 6) * torch.exp(3 * normal(256 * 6))
    x[256:512] = 0
    if not is_signed:
        x = x.abs()
    values = bnb.create_dynamic_map(is_signed)
    codes, scales = plain(torch.ops.bitsandbytes.quantize_blockwise.default, x, values, 256)
    y = plain(torch.ops.bitsandbytes.dequantize_blockwise.default, codes, scales, values, 256, torch.float32)
    return {"x": pack(x), "map": pack(values), "codes": pack(codes), "scales": pack(scales), "y": pack(y)}


def int8():
    x = normal(8, 100)
    q, scales = quantize_int8_rowwise(x)
    return {"x": pack(x), "q": pack(q), "scales": pack(scales)}


golden = {"float8": float8(), "gguf": blocks(), "nf4": nf4(), "signed": dynamic(True), "unsigned": dynamic(False),
          "int8": int8()}
path = pathlib.Path(__file__).with_name("quant.json")
path.write_text(json.dumps(golden, indent=1) + "\n")
