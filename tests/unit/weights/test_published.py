"""What the packaged maps say about where checkpoints are published, and names that files were given since."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import runtime
from compiler.passes.library import find_spec, read_source
from compiler.syntax.parse import parse
from compiler.weights.library import Library, WeightMap
from compiler.weights.published import published

LIBRARY = Library.standard()
MAPS = [m for m in map(LIBRARY.load, LIBRARY.names()) if m.files]


@pytest.mark.parametrize("map", MAPS, ids=lambda m: m.name)
def test_each_place_is_of_a_variant_and_at_a_commit(map: WeightMap) -> None:
    spec = parse(read_source(find_spec(map.spec))).spec
    assert spec is not None
    for label, place in map.files.items():
        variant = "" if label == "default" else label
        assert published([map], spec, variant) == (map, place)
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", place.repository)
        assert place.revision is None or re.fullmatch(r"[0-9a-f]{40}", place.revision)


def test_a_masked_autoencoder_by_its_published_names(tmp_path: Path) -> None:
    """transformers 5 renames the decoder's layers when it saves; what is published has the names before."""
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    sizes = {"dim": 32, "depth": 2, "heads": 2, "hidden": 64, "image": 32, "patch": 8}
    config = ViTMAEConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        decoder_hidden_size=16,
        decoder_num_hidden_layers=3,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=48,
    )
    saved, old = tmp_path / "saved", tmp_path / "old"
    ViTMAEForPreTraining(config).save_pretrained(saved)
    tensors = load_file(saved / "model.safetensors")
    renamed = {
        key.replace("decoder_encoder.layer.", "decoder_layers."): value for key, value in tensors.items()
    }
    assert sum("decoder.decoder_layers.2." in key for key in renamed) == 16
    old.mkdir()
    (old / "config.json").write_bytes((saved / "config.json").read_bytes())
    save_file(renamed, old / "model.safetensors")
    ours, theirs = runtime.load(old).state_dict(), runtime.load(saved).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    encoder = runtime.load("vit_mae_encoder", weights=old, set=sizes).state_dict()
    assert all(torch.equal(encoder[name], theirs[name]) for name in encoder)
