"""Placements: what the graph proves, what it refuses, what a recipe may override, and the bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from compiler.diagnostics.diagnostic import CompileError
from compiler.parallel.memory import Mesh, Training, load
from compiler.parallel.placement import Placement, place
from compiler.passes.library import spec_names
from compiler.pipeline import compile, typed_graph
from runtime.cli.main import main
from runtime.planning import plan
from runtime.training.recipe import read_recipe

LLAMA = {
    "h.*.attn.q": "colwise",
    "h.*.attn.k": "colwise",
    "h.*.attn.v": "colwise",
    "h.*.attn.o": "rowwise",
    "h.*.mlp.gate": "colwise",
    "h.*.mlp.up": "colwise",
    "h.*.mlp.down": "rowwise",
    "embed": "embedding_rowwise",
    "lm_head": "colwise_gather_output",
}

#: A block by itself, around one op or two between linear maps.
SPEC = """
spec: probe
task: encoding
params: {{heads: 4}}
inputs: {{x: "float[B, T, 24]"}}
nodes:
  up:   {{op: linear, in: x, out: =heads * 6}}
{nodes}
outputs: {{y: down}}
"""


def probe(tmp_path: Path, nodes: str, tp: int = 2, plan: Mapping[str, str] | None = None) -> Placement:
    path = tmp_path / "probe.yaml"
    lines = "\n".join(f"  {line.strip()}" for line in nodes.strip().splitlines())
    path.write_text(SPEC.format(nodes=lines))
    return place(typed_graph(path), tp=tp, plan=plan)


def placed(spec: str, tp: int = 1, plan: Mapping[str, str] | None = None) -> Placement:
    return place(typed_graph(spec), tp=tp, plan=plan)


def test_llama() -> None:
    found = placed("llama", 8)
    assert found.styles == LLAMA
    assert found.units == ("h.*",)
    assert not found.whole


def test_every_spec_has_a_placement() -> None:
    """And no group is half split: where there are column-wise maps there is a row-wise one."""
    for spec in spec_names():
        found = placed(spec)
        for group in found.groups:
            styles = {found.style(module) for module in group}
            assert "rowwise" in styles and {"colwise", "embedding_colwise"} & styles


def test_relative_biases_go_with_their_heads() -> None:
    found = placed("t5", 2)
    assert found.styles["e_bias.table"] == found.styles["d_bias.table"] == "embedding_colwise"
    (group,) = [g for g in found.groups if "e_bias.table" in g]
    assert {"encoder.*.attn.q", "encoder.*.attn.o"} <= set(group)
    assert found.units == ("encoder.*", "decoder.*")


PROVED = {
    "activation": "act: {op: activation, fn: relu}\ndown: {op: linear, out: 24}",
    "heads": """
        h: {op: rearrange, pattern: "B T (heads d) -> B heads T d"}
        m: {op: rearrange, pattern: "B heads T d -> B T (heads d)"}
        down: {op: linear, out: 24}""",
    "a norm of each head": """
        h: {op: rearrange, pattern: "B T (heads d) -> B T heads d"}
        n: {op: rms_norm}
        m: {op: rearrange, pattern: "B T heads d -> B T (heads d)"}
        down: {op: linear, out: 24}""",
    "a gate": """
        gate: {op: linear, in: x, out: =heads * 6}
        both: {op: mul, in: [up, gate]}
        down: {op: linear, out: 24}""",
}
REFUSED = {
    "a norm along it": ("n: {op: layer_norm}\ndown: {op: linear, out: 24}", "`n` normalises along it"),
    "heads not leading": (
        """
        h: {op: rearrange, pattern: "B T (heads d) -> B T (d heads)"}
        down: {op: linear, out: 24}""",
        "`h` moves `heads` behind another factor, or sums over it",
    ),
    "a sum of heads": (
        """
        h: {op: reduce, pattern: "B T (heads d) -> B T d", fn: sum}
        down: {op: linear, out: 24}""",
        "`h` moves `heads` behind another factor, or sums over it",
    ),
    "a whole value": (
        "s: {op: add, in: [up, x]}\ndown: {op: linear, out: 24}",
        "`s` joins it with a value that every rank holds whole",
    ),
    "a parameter for each head": (
        """
        c: {op: parameter, shape: [24]}
        s: {op: mul, in: [up, c]}
        down: {op: linear, out: 24}""",
        "`s` joins it with a value that every rank holds whole",
    ),
    "a softmax along it": ("s: {op: softmax}\ndown: {op: linear, out: 24}", "`s` works along it"),
    "a slice of it": (
        "s: {op: slice, axis: -1, stop: 12}\ndown: {op: linear, out: 24}",
        "`s` works along it",
    ),
    "half a gate": (
        """
        gate: {op: map, in: {a: x}, expr: =a * 2}
        both: {op: mul, in: [up, gate]}
        down: {op: linear, out: 24}""",
        "`both` joins it with a value that every rank holds whole",
    ),
    "no end": ("down: {op: activation, fn: relu}", "it is the model's output `y`"),
}


@pytest.mark.parametrize("name", PROVED)
def test_proved(name: str, tmp_path: Path) -> None:
    found = probe(tmp_path, PROVED[name])
    assert (found.styles["up"], found.styles["down"]) == ("colwise", "rowwise")
    assert found.styles.get("n", "") in ("", "replicated_with_grad_allreduce")


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    nodes, why = REFUSED[name]
    found = probe(tmp_path, nodes)
    assert not found.styles
    assert found.whole["up"] == why


def test_counts_that_do_not_divide() -> None:
    with pytest.raises(CompileError) as caught:
        placed("llama:smollm2-135m", 2)
    heads, kv_heads = caught.value.diagnostics
    assert heads.message == "9 `heads` cannot be dealt out evenly to tp = 2 ranks"
    assert kv_heads.message == "3 `kv_heads` cannot be dealt out evenly to tp = 2 ranks"
    assert heads.span is not None and heads.span.file.name.endswith("llama.yaml")
    assert "1, 3" in heads.help and "h.*.attn.q: replicate" in heads.help
    found = placed("llama:smollm2-135m", 2, {"h.*.attn.q": "replicate"})
    assert found.styles == {key: style for key, style in LLAMA.items() if "attn" not in key}
    assert placed("llama:smollm2-135m", 3).styles == LLAMA


def test_a_width_that_does_not_divide(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"24 `up` cannot be dealt out evenly to tp = 5 ranks"):
        probe(tmp_path, PROVED["activation"], tp=5)


def test_overrides() -> None:
    whole = placed("llama", 2, {"*.mlp.up": "replicate", "embed": "replicate"})
    assert whole.styles == {k: s for k, s in LLAMA.items() if "attn" in k or k == "lm_head"}
    assert whole.whole["h.*.mlp.up"] == "the plan says so"
    assert whole.whole["h.*.mlp.gate"] == "`g` joins it with a value that every rank holds whole"
    gathered = placed("llama", 2, {"h.*.mlp.gate": "colwise_gather_output"})
    assert gathered.styles["h.*.mlp.gate"] == "colwise_gather_output"
    assert "h.*.mlp.down" not in gathered.styles
    assert placed("llama", 2, {"h.*.attn.o": "rowwise"}).styles == LLAMA


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ({"h.*.mlp.upp": "replicate"}, "`h.*.mlp.upp` matches no module with weights"),
        ({"h.0.mlp.up": "replicate"}, "matches some of the layers that are alike"),
        ({"h.*.mlp.up": "columns"}, "there is no style `columns`"),
        ({"h.*.mlp.up": "rowwise"}, "`h.*.mlp.up` cannot be `rowwise`: the graph proves `colwise`"),
    ],
)
def test_wrong_overrides(override: dict[str, str], said: str) -> None:
    recipe = read_recipe("bpe_gpt", {"parallel.plan": {**override}})
    with pytest.raises(CompileError) as caught:
        placed("llama", 2, recipe.parallel.plan)
    (fault,) = caught.value.diagnostics
    assert said in fault.message
    assert fault.span is not None


def test_bytes() -> None:
    """Of LLaMA 3.1 8B on 16 x 8 ranks, by hand: every matrix is split over all 128, norms over 16."""
    program = compile("llama:3.1-8b")
    placement = place(program.typed, tp=8)
    found = load(program.stored, placement, Mesh(16, 8), Training(lambda name: True, 2))
    layer = 2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096
    split = (32 * layer + 2 * 128256 * 4096) // 128 * 4
    norms = 65 * 4096 // 16 * 4
    assert (found.split.parameters, found.split.gradients, found.split.optimizer) == (split, split, 2 * split)
    assert (found.whole.parameters, found.whole.optimizer) == (norms, 2 * norms)
    assert found.unit == (layer // 8 + 2 * 4096) * 4
    assert found.rest == (2 * 128256 * 4096 // 8 + 4096) * 4


def test_frozen_parameters_have_no_state() -> None:
    found = plan("imdb_lora", tp=1, set={"model.set.classes": 2}).load.total
    assert 0 < found.gradients < found.parameters / 20
    assert found.optimizer == 2 * found.gradients


def test_command_needs_no_torch() -> None:
    code = (
        "import sys; from runtime.cli.main import main; "
        "code = main('plan llama:3.1-8b --world 128 --tp 8 --json'.split()); "
        "sys.exit(code or 10 * ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["mesh"] == {"data": 16, "tensor": 8}
    assert found["styles"] == LLAMA
    assert found["bytes"]["total"] == 1_004_015_616


def test_worlds_that_are_no_mesh() -> None:
    with pytest.raises(CompileError, match="a world of 10 ranks is not divisible by tp = 4"):
        plan("llama", world=10, tp=4)


def test_command_prints_it_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "gpt2", "--world", "4", "--tp", "2"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "gpt2 on 4 ranks: 2 share the data, 2 share each layer"
    assert "h.*.attn.o rowwise" in lines
    assert "wpe replicate (`sum` joins it with a value that every rank holds whole)" in lines
    assert "gathered one at a time: h.*" in lines


def test_adapted_maps_stay_whole_and_so_does_their_group() -> None:
    adapted = {"at": ["h.*.attn.q", "h.*.attn.v"], "rank": 4, "alpha": 8.0}
    settings = {"model.set.classes": 2, "model.adapters": adapted}
    found = plan("imdb_lora", tp=2, set=settings).placement
    assert "h.*.attn.o" not in found.styles
    assert found.whole["h.*.attn.k"] == "`a` joins it with a value that every rank holds whole"
    assert found.styles["h.*.mlp.up"] == "colwise"
    override = {**settings, "parallel.plan": {"*.mlp.up": "replicate"}}
    assert "h.*.mlp.down" not in plan("imdb_lora", tp=2, set=override).placement.styles
