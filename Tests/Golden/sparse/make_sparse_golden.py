"""Masks of SNIP and GraSP at initialisation, computed by PyTorch in float64 from the models of ../models.

Scores are those of the public implementations: SNIP |g w| (mil-ad/snip), GraSP -w (H g) by a second backward, of which
the highest are removed (alecwangcq/GraSP; without its temperature). Written: for each model, method and density the kept
elements of all projections, as outputs by inputs, as one string of bits in hexadecimal.
"""

import json
import pathlib

import torch
import transformers

MODELS = pathlib.Path(__file__).parent.parent / "models"
DENSITIES = [0.5, 0.2, 0.05]


def projections(model):
    """Name, parameter and whether it is stored as inputs by outputs."""
    for name, module in model.named_modules():
        if isinstance(module, transformers.pytorch_utils.Conv1D):
            yield name + ".weight", module.weight, True
        elif isinstance(module, torch.nn.Linear) and not name.endswith("lm_head"):
            yield name + ".weight", module.weight, False


def scores(name):
    golden = json.loads((MODELS / name / "golden.json").read_text())
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        MODELS / name, dtype=torch.float64, attn_implementation="eager").eval()
    run, length = golden["runs"][0], golden["context"]
    tokens = torch.tensor(golden["tokens"])
    rows = [tokens[i * length:i * length + length + 1] for i in range(run["batch"])]
    logits = model(torch.stack([row[:-1] for row in rows])).logits
    targets = torch.stack([row[1:] for row in rows])
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    found = list(projections(model))
    weights = [weight for _, weight, _ in found]
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    curvature = torch.autograd.grad(sum((g * g.detach()).sum() for g in gradients), weights)
    oriented = [lambda x, t=t: x.detach().T if t else x.detach() for _, _, t in found]
    snip = [o((w * g).abs()) for o, w, g in zip(oriented, weights, gradients)]
    grasp = [o(w * h) for o, w, h in zip(oriented, weights, curvature)]
    return [n for n, _, _ in found], {"snip": snip, "grasp": grasp}


def bits(tensors, density):
    flat = torch.cat([t.flatten() for t in tensors])
    count = max(1, round(len(flat) * density))
    kept = torch.zeros(len(flat), dtype=torch.uint8)
    kept[torch.topk(flat, count).indices] = 1
    return "".join(f"{int(''.join(map(str, group)), 2):x}" for group in kept.view(-1, 4).tolist())


def main():
    result = {}
    for model in ["gpt2-tiny", "llama-tiny"]:
        names, methods = scores(model)
        result[model] = {"names": names, "masks": {
            method: {str(d): bits(tensors, d) for d in DENSITIES} for method, tensors in methods.items()}}
    (pathlib.Path(__file__).parent / "masks.json").write_text(json.dumps(result, indent=1) + "\n")


main()
