"""A GGUF file as llama.cpp's converter writes one: recognised, planned, loaded to the original weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gguf import GGUFWriter

from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.config import recognise
from compiler.weights.library import Library
from compiler.weights.plan import plan
from compiler.weights.readers import read_header
from runtime.checkpoint.reader import open_checkpoint
from runtime.load_plan import load_plan
from tests.unit.weights import tables

LIBRARY = Library.standard()
VALUES = dict(
    vocab=13, dim=8, depth=11, heads=4, kv_heads=2, head_dim=8, hidden=10, context=32, eps=1e-6, base=7.0
)


def permute(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """The converter's reordering of q and k, from its published formula."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def written(path: Path, state: dict[str, torch.Tensor], tied: bool) -> Path:
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(11)
    writer.add_context_length(32)
    writer.add_embedding_length(8)
    writer.add_feed_forward_length(10)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_key_length(8)
    writer.add_value_length(8)
    writer.add_rope_dimension_count(8)
    writer.add_rope_freq_base(7.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_token_list([f"t{n}" for n in range(13)])
    names = {"embed": "token_embd", "norm": "output_norm", "lm_head": "output"}
    layer = {"ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.o": "attn_output"}
    for name, tensor in state.items():
        stem = name.removesuffix(".weight")
        if stem.startswith("h."):
            _, i, rest = stem.split(".", 2)
            short = rest.replace("attn.", "attn_").replace("mlp.", "ffn_")
            stem = f"blk.{i}." + layer.get(rest, short)
        if stem.endswith(("attn_q", "attn_k")):
            tensor = permute(tensor, 4 if stem.endswith("q") else 2)
        if not (tied and stem == "lm_head"):
            writer.add_tensor(names.get(stem, stem) + ".weight", tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("tied", [False, True])
def test_llama(tmp_path: Path, tied: bool) -> None:
    table = tables.llama(**VALUES, tied=tied)
    torch.manual_seed(1)
    state = {p.name: torch.randn(p.shape) for p in table.parameters}
    path = written(tmp_path / "tiny.gguf", state, tied)
    for source in (path, tmp_path):
        found = recognise(source, LIBRARY)
        assert found.spec == "llama" and found.map.name == "llama.gguf"
        assert {k: v for k, v in found.set.items() if k not in ("eps", "base")} == {
            k: v for k, v in VALUES.items() if k not in ("eps", "base")
        } | {"tied": tied}
        assert found.set["eps"] == pytest.approx(1e-6) and found.set["base"] == 7.0
    header = read_header(path)
    made = plan(found.map, table, header)
    module = tables.module(table)
    load_plan(made, open_checkpoint(header).tensor, module)
    loaded = module.state_dict()
    assert set(loaded) == set(state)
    for name, tensor in state.items():
        assert torch.equal(loaded[name], tensor), name


def test_a_head_that_the_spec_lacks_is_unexpected(tmp_path: Path) -> None:
    table = tables.llama(**VALUES, tied=False)
    path = written(tmp_path / "tiny.gguf", {p.name: torch.zeros(p.shape) for p in table.parameters}, False)
    with pytest.raises(CompileError, match=r"`output.weight` and `token_embd.weight` differ"):
        header = read_header(path)
        tied = tables.llama(**VALUES, tied=True)
        tensors = open_checkpoint(header)
        made = plan(LIBRARY.load("llama.gguf"), tied, header)
        load_plan(made, lambda key: tensors.tensor(key) + (key == "output.weight"), tables.module(tied))
