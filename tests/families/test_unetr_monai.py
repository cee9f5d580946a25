"""UNETR against MONAI's, where the two networks are one.

MONAI's has a norm behind its transformer and biases on its patches and its attention, ours has biases on
its convolutions; these are taken out. MONAI reads its transformer after 4, 7 and 10 layers, ours after 3, 6
and 9, as the paper has it: a spec of the test's own moves them.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

import runtime
from tests.parity.harness import Tensors, answers, check_control, comparison, randomised

SPEC = """
spec: unetr_of_monai
extends: unetr
params: {image: 32, channels: 3, classes: 5, dim: 24, heads: 3, hidden: 40, base: 2}
set: {skip_3.in: h.3, skip_6.in: h.6, skip_9.in: h.9}
"""
MAP = """
weightmap: 1
spec: unetr_of_monai
dialect: monai
index: {i: 12, p: [weight, bias]}
rules:
  - vit.patch_embedding.patch_embeddings.weight <> patches.weight
  - vit.patch_embedding.position_embeddings <> place as 1 n d -> n d
  - under: "vit.blocks.{i}. <> h.{i}."
    rules:
      - norm(1|2).{p} <> ln_(1|2).{p}
      - attn.qkv.weight <> attn.[q|k|v].weight as [n|n|n] d -> * d
      - attn.out_proj.weight <> attn.o.weight
      - mlp.linear(1|2).{p} <> mlp.(up|down).{p}
  - encoder1.layer.conv(1|2|3).conv.{p} <> skip_0.conv_(1|2|3).{p}
  - encoder(2|3|4).transp_conv_init.conv.weight <> skip_(3|6|9).up.weight
  - encoder(2|3).blocks.0.0.conv.weight <> skip_(3|6).up_2.up.weight
  - encoder(2|3).blocks.0.1.conv1.conv.{p} <> skip_(3|6).up_2.conv.conv_1.{p}
  - encoder(2|3).blocks.0.1.conv2.conv.{p} <> skip_(3|6).up_2.conv.conv_2.{p}
  - encoder2.blocks.1.0.conv.weight <> skip_3.up_3.up.weight
  - encoder2.blocks.1.1.conv(1|2).conv.{p} <> skip_3.up_3.conv.conv_(1|2).{p}
  - decoder(2|3|4|5).transp_conv.conv.{p} <> join_(0|3|6|9).up.{p}
  - decoder(2|3|4|5).conv_block.conv1.conv.{p} <> join_(0|3|6|9).conv.conv_1.{p}
  - decoder(2|3|4|5).conv_block.conv2.conv.{p} <> join_(0|3|6|9).conv.conv_2.{p}
  - decoder(2|3|4|5).conv_block.conv3.conv.{p} <> join_(0|3|6|9).conv.conv_3.{p}
  - out.conv.conv.{p} <> logits.{p}
drop:
  vit.patch_embedding.patch_embeddings.bias: made zero
  vit.blocks.{i}.attn.out_proj.bias: made zero
  vit.blocks.{i}.norm_cross_attn.{p}: read by nothing
"""
OURS_HAS_A_BIAS = re.compile(
    r"(encoder\d.*\.|decoder\d\.conv_block\.)conv\d\.conv\.weight|decoder\d\.transp.*"
)
#: A norm takes away what is the same in a whole channel.
BEFORE_A_NORM = re.compile(r".*\.conv_\d\.bias")


def theirs() -> nn.Module:
    """MONAI's network without what ours has not, and with a zero for every bias that it has not."""
    nets: Any = importlib.import_module("monai.networks.nets")
    model: nn.Module = nets.UNETR(
        in_channels=3, out_channels=5, img_size=(32, 32, 32), feature_size=2, hidden_size=24, mlp_dim=40,
        num_heads=3, proj_type="conv", norm_name="instance", res_block=True,
    )  # fmt: skip
    randomised(model.double().eval())
    model.get_submodule("vit").norm = nn.Identity()
    for name, parameter in model.named_parameters():
        if name.endswith(("patch_embeddings.bias", "out_proj.bias")):
            nn.init.zeros_(parameter)
    return model


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Its tensors, and zeros where ours has biases."""
    found = dict(model.state_dict())
    for name in [name for name in found if OURS_HAS_A_BIAS.fullmatch(name)]:
        outputs = found[name].shape[1 if "transp" in name else 0]
        found[name.replace("weight", "bias")] = torch.zeros(outputs, dtype=torch.float64)
    return found


def ask(model: nn.Module) -> Tensors:
    draw = torch.Generator().manual_seed(5)
    volume = torch.randn(2, 3, 32, 32, 32, dtype=torch.float64, generator=draw)
    return {"logits": model(volume)}


def test_monai(tmp_path: Path) -> None:
    (tmp_path / "unetr_of_monai.yaml").write_text(SPEC)
    (tmp_path / "unetr_of_monai.monai.yaml").write_text(MAP)
    reference = theirs()
    torch.save(state(reference), tmp_path / "unetr.pt")
    model = runtime.load(tmp_path / "unetr_of_monai.yaml", weights=tmp_path / "unetr.pt")
    compare = comparison(answers(ask, reference), torch.float64)
    compare(answers(ask, model))
    check_control(ask, model, compare, torch.float64, BEFORE_A_NORM)
