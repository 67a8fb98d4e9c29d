"""Writes dynamic_maps.json: the maps of 8-bit states as torchao makes them (bitsandbytes' are the same)."""

import json
import pathlib

from torchao.optim.quant_utils import create_dynamic_map

if __name__ == "__main__":
  lines = [f'"{name}": {json.dumps(create_dynamic_map(name == "signed"))}' for name in ("signed", "unsigned")]
  (pathlib.Path(__file__).parent / "dynamic_maps.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
