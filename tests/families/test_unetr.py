"""UNETR against the same network written down in torch's functions."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import compiler
from tests.parity.harness import comparison, randomised

SIZES = {"image": 32, "channels": 2, "classes": 5, "dim": 24, "heads": 3, "hidden": 40, "base": 2}


def layer(p: dict[str, Tensor], x: Tensor) -> Tensor:
    """A transformer layer, one head after the other."""
    y = F.layer_norm(x, (24,), p["ln_1.weight"], p["ln_1.bias"])
    q, k, v = ((y @ p[f"attn.{n}.weight"].T).chunk(3, -1) for n in "qkv")
    heads = [(a @ b.transpose(1, 2) / 8**0.5).softmax(-1) @ c for a, b, c in zip(q, k, v, strict=True)]
    x = x + torch.cat(heads, -1) @ p["attn.o.weight"].T
    y = F.layer_norm(x, (24,), p["ln_2.weight"], p["ln_2.bias"])
    y = F.gelu(F.linear(y, p["mlp.up.weight"], p["mlp.up.bias"]))
    return x + F.linear(y, p["mlp.down.weight"], p["mlp.down.bias"])


def convs(p: dict[str, Tensor], x: Tensor) -> Tensor:
    """Two convolutions beside x, which a third one widens if there is one."""
    y = F.instance_norm(F.conv3d(x, p["conv_1.weight"], p["conv_1.bias"], padding=1))
    y = F.instance_norm(F.conv3d(F.leaky_relu(y), p["conv_2.weight"], p["conv_2.bias"], padding=1))
    if "conv_3.weight" in p:
        x = F.instance_norm(F.conv3d(x, p["conv_3.weight"], p["conv_3.bias"]))
    return F.leaky_relu(y + x)


def skip(p: dict[str, Tensor], x: Tensor) -> Tensor:
    """Twice the resolution, as often as there are weights for it."""
    x = F.conv_transpose3d(x, p["up.weight"], stride=2)
    for name in ("up_2", "up_3"):
        if f"{name}.up.weight" in p:
            x = F.conv_transpose3d(x, p[f"{name}.up.weight"], stride=2)
            x = convs(below(p, f"{name}.conv"), x)
    return x


def below(p: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) + 1 :]: t for key, t in p.items() if key.startswith(f"{prefix}.")}


def unetr(p: dict[str, Tensor], volume: Tensor) -> Tensor:
    x = F.conv3d(volume, p["patches.weight"], stride=16).flatten(2).transpose(1, 2) + p["place"]
    taps = {}
    for i in range(12):
        x = layer(below(p, f"h.{i}"), x)
        taps[i + 1] = x.transpose(1, 2).reshape(len(x), 24, 2, 2, 2)
    y = taps[12]
    for depth in (9, 6, 3, 0):
        known = skip(below(p, f"skip_{depth}"), taps[depth]) if depth else convs(below(p, "skip_0"), volume)
        join = below(p, f"join_{depth}")
        y = F.conv_transpose3d(y, join["up.weight"], join["up.bias"], stride=2)
        y = convs(below(join, "conv"), torch.cat((y, known), 1))
    return F.conv3d(y, p["logits.weight"], p["logits.bias"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_unetr(dtype: torch.dtype) -> None:
    model: Any = randomised(compiler.build("unetr", set=SIZES, dtype=dtype).eval())
    draw = torch.Generator().manual_seed(5)
    volume = torch.randn(2, 2, 32, 32, 32, dtype=dtype, generator=draw)
    labels = torch.randint(0, 5, (2, 32, 32, 32), generator=draw)
    with torch.no_grad():
        logits = unetr(dict(model.named_parameters()), volume)
        compare = comparison({"logits": logits, "loss": F.cross_entropy(logits, labels)}, dtype)
        compare(model(volume, labels)._asdict())


def test_every_weight_is_felt() -> None:
    """But the biases in front of the norms, which take away what is the same in a whole channel."""
    model: Any = randomised(compiler.build("unetr", set=SIZES, dtype=torch.float64).eval())
    volume = torch.randn(1, 2, 32, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    kinds = {re.sub(r"\d+", "N", name): name for name, _ in model.named_parameters()}
    with torch.no_grad():
        before = model(volume)
        for name in kinds.values():
            element = model.get_parameter(name).view(-1)[0]
            element += 1e-2
            moved = (model(volume) - before).abs().max()
            element -= 1e-2
            assert (moved > 1e-9) != bool(re.search(r"conv_\d\.bias$", name)), name


def test_size() -> None:
    assert sum(p.numel for p in compiler.compile("unetr").table.parameters) == 43_886_819
