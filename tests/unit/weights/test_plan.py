"""What a plan refuses: every fault located, all in one report, equal layers as one, unequal ones apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.choose import choose
from compiler.weights.fold import fold
from compiler.weights.library import Library
from compiler.weights.plan import plan, plan_export
from compiler.weights.report import summary
from tests.unit.weights import maps

GOLDEN = Path(__file__).with_name("plan_report.txt")
BODY = """\
index: {i: =depth, p: [weight, bias]}
rules:
  - under: h.{i}. <> h.{i}.
    rules:
      - fc.weight <> up.weight as i o -> o i
      - ln.{p} <> ln.{p}
  - head.weight <> head.weight
drop: {"h.{i}.mask": computed by the model}
"""


def toy(depth: int = 12) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    ours: dict[str, tuple[int, ...]] = {}
    theirs: dict[str, tuple[int, ...]] = {}
    for i in range(depth):
        ours |= {f"h.{i}.up.weight": (5, 3), f"h.{i}.ln.weight": (3,), f"h.{i}.ln.bias": (3,)}
        theirs |= {
            f"h.{i}.fc.weight": (3, 5),
            f"h.{i}.ln.weight": (3,),
            f"h.{i}.ln.bias": (3,),
            f"h.{i}.mask": (9,),
        }
    return ours | {"head.weight": (7, 3)}, theirs | {"head.weight": (7, 3)}


def refused(folder: Path, body: str, ours: maps.Shapes, theirs: maps.Shapes, **dtypes: str) -> str:
    with pytest.raises(CompileError) as caught:
        plan(maps.write(folder, body), maps.ours(ours, depth=12), maps.theirs(theirs, "float32", **dtypes))
    return maps.report(caught.value, folder)


def test_everything_at_once(tmp_path: Path) -> None:
    ours, theirs = toy()
    del ours["h.11.ln.bias"]
    ours["extra"] = (1,)
    for i in (4, 5, 7):
        theirs[f"h.{i}.fc.weight"] = (3, 6)
    theirs["h.8.fc.weight"] = (3, 4)
    theirs["h.2.ln.weigth"] = theirs.pop("h.2.ln.weight")
    theirs["h.3.ln.weigth"] = theirs.pop("h.3.ln.weight")
    theirs["optimizer.step"] = ()
    assert refused(tmp_path, BODY, ours, theirs, **{"head.weight": "int64"}) == GOLDEN.read_text()


def test_square_matrices_are_still_transposed(tmp_path: Path) -> None:
    made = plan(
        maps.write(tmp_path, "rules: ['a <> a as i o -> o i']\n"),
        maps.ours({"a": (3, 3)}),
        maps.theirs({"a": (3, 3)}),
    )
    assert made.aliased() == []


def test_collisions(tmp_path: Path) -> None:
    rules = "['a.{i}.w <> b.{i}.w', 'a.0.w <> c', 'd <> b.11.w']"
    body = f"index: {{i: =depth}}\nrules: {rules}\ndrop: {{'a.{{i}}.w?': no}}\n"
    ours = {f"b.{i}.w": (2,) for i in range(12)} | {"c": (2,)}
    text = refused(tmp_path, body, ours, {f"a.{i}.w": (2,) for i in range(12)} | {"d": (2,)})
    for line in (
        "two statements claim `a.{0-11}.w` (12 tensors)",
        "two statements claim `a.0.w`",
        "two statements claim `b.11.w`",
        "note: the other one\n  --> toy.hf.yaml:6:8",
    ):
        assert line in text, text


def test_one_tensor_for_two(tmp_path: Path) -> None:
    """One source to several targets by index arithmetic; ties and aliases onto owned or unknown names."""
    ours = {f"b.{i}": (2,) for i in range(12)} | {"c": (24,)}
    theirs = {f"a.{i}": (2,) for i in range(12)}
    body = "index: {i: =depth}\nrules: ['a.{i // 2} <> b.{i}', 'x.{i % 2} <> c as * -> [n|n]']\n"
    with pytest.raises(CompileError, match=r"members"):
        maps.write(tmp_path, body)
    body = "index: {i: =depth}\nrules: ['a.{i // 2} <> b.{i}', 'x.{i % 2} <> c as n -> ({i} n)']\n"
    text = refused(tmp_path, body, ours, theirs)
    assert "claim `a.{0-5}` (6 tensors)" in text and "claim `x.{0-1}` (2 tensors)" in text
    body = "index: {i: =depth}\nrules: ['a.{i} <> b.{i}']\ntie: {a.1: a.0}\nalias: {old: gone}\n"
    text = refused(tmp_path, body, ours, theirs)
    assert "two statements claim `a.1`" in text and "no rule mentions `gone`, which stands here" in text


def test_a_rule_and_a_drop_must_match(tmp_path: Path) -> None:
    ours, theirs = toy()
    theirs = {key: shape for key, shape in theirs.items() if not key.endswith("mask")}
    text = refused(tmp_path, BODY + "", ours, theirs)
    assert (
        "error[rule-unused]: the checkpoint has no `h.{0-11}.mask` to drop\n   --> toy.hf.yaml:11:8" in text
    )
    text = refused(tmp_path, "rules: ['a <> b', 'c? <> d']\n", {"x": (1,)}, {"a": (1,)})
    assert "the rule gives `b`, which the spec toy does not have" in text and "`d`" not in text
    assert "no rule of the map toy.hf gives `x`" in text
    assert "`a`" not in text, "the rule explains it"


def test_half_of_an_optional_group(tmp_path: Path) -> None:
    body = "index: {p: [weight, bias]}\nrules: ['pool.{p}? <> pool.{p}']\n"
    both = {"pool.weight": (2,), "pool.bias": (2,)}
    half = {"pool.weight": (2,)}
    assert "lacks `pool.bias`" in refused(tmp_path, body, both, half)
    assert "mentions `pool.bias`" in refused(tmp_path, body, half, both)
    assert plan(maps.write(tmp_path, body), maps.ours({}), maps.theirs({})).groups == ()


def test_sibling_names_are_not_confused(tmp_path: Path) -> None:
    body = "index: {i: =depth}\nrules: ['experts.{i}.w <> e.{i}', 'shared_experts.{i}.w <> s.{i}']\n"
    ours = {f"{a}.{i}": (i + 1,) for a in "es" for i in range(12)}
    theirs = {f"{a}.{i}.w": (i + 1,) for a in ("experts", "shared_experts") for i in range(12)}
    made = plan(maps.write(tmp_path, body), maps.ours(ours, depth=12), maps.theirs(theirs))
    got = {move.theirs: move.ours for group in made.groups for move in group.moves}
    assert got["experts.11.w"] == "e.11" and got["shared_experts.1.w"] == "s.1" and len(got) == 24


@pytest.mark.parametrize("found", ["int64", "bool", "float8_e4m3fn"])
def test_only_floats_become_floats(tmp_path: Path, found: str) -> None:
    text = refused(tmp_path, "rules: ['a <> a']\n", {"a": (2,)}, {"a": (2,)}, a=found)
    assert f"`a` is {found} in the file, the spec toy needs float" in text


def test_casts_and_drops_are_reported(tmp_path: Path) -> None:
    ours, theirs = toy()
    loads, table = maps.write(tmp_path, BODY), maps.ours(ours, depth=12)
    half = maps.theirs(theirs, "bfloat16", **{"head.weight": "float32"})
    assert plan(loads, table, half).casts == ()
    assert summary(plan(loads, table, half, "float32")) == SUMMARY


SUMMARY = """\
toy.hf: 37 tensors from 37
  as they stand: 1
  rearranged or cast: 36 (252 elements)
  cast `h.{0-11}.up.weight` (12 tensors): bfloat16 -> float32
  cast `h.{0-11}.ln.weight` (12 tensors): bfloat16 -> float32
  cast `h.{0-11}.ln.bias` (12 tensors): bfloat16 -> float32
  left out `h.{0-11}.mask` (12 tensors): computed by the model"""


def test_wrappers_are_recorded(tmp_path: Path) -> None:
    body = "strip: [module., _orig_mod.]\nunwrap: [ema, model]\nrules: ['a.w <> a']\n"
    header = maps.theirs({"module._orig_mod.a.w": (2,)})
    loads = maps.write(tmp_path, body)
    made = plan(loads, maps.ours({"a": (2,)}), header)
    assert list(made.theirs) == ["module._orig_mod.a.w"] and loads.unwrap == ("ema", "model")
    assert list(plan_export(loads, maps.ours({"a": (2,)})).theirs) == ["a.w"]
    twice = maps.theirs({"module.a.w": (2,), "a.w": (2,)})
    with pytest.raises(CompileError, match=r"holds `a.w` twice: as `module.a.w` and as `a.w`"):
        plan(maps.write(tmp_path, body), maps.ours({"a": (2,)}), twice)


def test_optional_prefix_is_all_or_nothing(tmp_path: Path) -> None:
    body = "rules:\n  - {under: 'model.? <> ', rules: ['a <> a', 'b <> b']}\n"
    ours = {"a": (2,), "b": (2,)}
    text = refused(tmp_path, body, ours, {"model.a": (2,), "b": (2,)})
    assert "lacks `model.b`" in text and "it has `b`" in text


def test_ties_of_the_model(tmp_path: Path) -> None:
    body = "rules: ['wte <> wte', 'head <> head']\n"
    loads, table = maps.write(tmp_path, body), maps.ours({"wte": (3, 2)}, {"head": "wte"})
    assert [g.check for g in plan(loads, table, maps.theirs({"wte": (3, 2)})).groups] == [False]
    both = plan(loads, table, maps.theirs({"wte": (3, 2), "head": (3, 2)}))
    assert [g.check for g in both.groups] == [False, True] and list(both.theirs) == ["wte", "head"]
    assert list(plan_export(loads, table).theirs) == ["wte"]
    with pytest.raises(CompileError, match=r"`head` is \[2, 3\] in the file"):
        plan(loads, table, maps.theirs({"wte": (3, 2), "head": (2, 3)}))
    with pytest.raises(CompileError, match=r"lacks `wte`"):
        plan(loads, table, maps.theirs({"head": (3, 2)}))


def test_choice_by_coverage(tmp_path: Path) -> None:
    maps.write(tmp_path, "rules: ['a <> a']\n")
    for name, key in (("one", "b"), ("two", "c")):
        text = f"weightmap: 1\nspec: toy\ndialect: {name}\nrules: ['{key} <> a']\n"
        (tmp_path / f"toy.{name}.yaml").write_text(text)
    library, table = Library((tmp_path,)), maps.ours({"a": (2,)})
    assert choose(library, table, maps.theirs({"b": (2,)})).name == "toy.one"
    assert choose(library, table, maps.theirs({"b": (2,)}), "two").name == "toy.two"
    with pytest.raises(CompileError) as caught:
        choose(library, table, maps.theirs({"x": (2,)}))
    text = maps.report(caught.value, tmp_path)
    assert "no weight map of toy reads model.safetensors" in text
    assert "toy.one: the checkpoint lacks `b`, and 1 more" in text
    with pytest.raises(CompileError, match=r"the spec toy has no dialect `three`"):
        choose(library, table, maps.theirs({}), "three")


def test_a_choice_tells_what_is_wrong_with_the_maps_themselves(tmp_path: Path) -> None:
    """Not that several maps read the file: a map that cannot be read off compares no names."""

    def write(name: str, rule: str) -> None:
        text = f"weightmap: 1\nspec: toy\ndialect: {name}\nindex: {{i: =two}}\nrules: ['{rule}']\n"
        (tmp_path / f"toy.{name}.yaml").write_text(text)

    write("one", "b.{i} <> a.{i}")
    write("two", "c.{i} <> a.{i}")
    table, header = maps.ours({"a": (2,)}), maps.theirs({"a": (2,)})
    with pytest.raises(CompileError) as caught:
        choose(Library((tmp_path,)), table, header)
    assert [(d.code, str(d.span)) for d in caught.value.diagnostics] == [
        ("expr-name", f"{tmp_path}/toy.{name}.yaml:4:13") for name in ("one", "two")
    ]
    maps.write(tmp_path, "rules: ['b <> a']\n")
    with pytest.raises(CompileError, match="there is no param `two`"):
        choose(Library((tmp_path,)), table, header)
    maps.write(tmp_path, "rules: ['a <> a']\n")
    assert choose(Library((tmp_path,)), table, header).name == "toy.hf"


def test_a_choice_between_maps_of_the_same_names_is_by_shape(tmp_path: Path) -> None:
    for name, rule in (("one", "a <> a"), ("two", "a <> a as i o -> o i")):
        text = f"weightmap: 1\nspec: toy\ndialect: {name}\nrules: ['{rule}']\n"
        (tmp_path / f"toy.{name}.yaml").write_text(text)
    library, table = Library((tmp_path,)), maps.ours({"a": (2, 3)})
    assert choose(library, table, maps.theirs({"a": (2, 3)})).name == "toy.one"
    assert choose(library, table, maps.theirs({"a": (3, 2)})).name == "toy.two"
    with pytest.raises(CompileError) as caught:
        choose(library, table, maps.theirs({"a": (5, 3)}))
    assert [d.code for d in caught.value.diagnostics] == ["key-mismatch", "key-mismatch"]
    square = maps.ours({"a": (2, 2)})
    with pytest.raises(CompileError, match=r"several maps read model.safetensors: toy.one, toy.two"):
        choose(library, square, maps.theirs({"a": (2, 2)}))


def test_a_spec_without_a_map_uses_its_parents(tmp_path: Path) -> None:
    maps.write(tmp_path, "rules: ['a <> a']\n")
    library = Library((tmp_path,))
    assert [m.name for m in library.candidates("kid", ("none", "toy"))] == ["toy.hf"]
    assert library.candidates("kid", ()) == []


def test_readonly_maps_are_not_written(tmp_path: Path) -> None:
    loads = maps.write(tmp_path, "readonly: true\nrules: ['a <> a']\n")
    with pytest.raises(CompileError, match=r"read, never written"):
        plan_export(loads, maps.ours({"a": (2,)}))


def test_folding_never_merges_unequal_values() -> None:
    items = [(f"h.{i}.w.{j}", "x" if (i, j) != (1, 1) else "y") for i in range(3) for j in range(2)]
    folded = {(f.name, f.count, f.value) for f in fold([*items, ("fc1", "x"), ("h.x", "x")])}
    assert folded == {
        ("h.{0,2}.w.{0-1}", 4, "x"), ("h.1.w.0", 1, "x"), ("h.1.w.1", 1, "y"), ("fc1", 1, "x"),
        ("h.x", 1, "x"),
    }  # fmt: skip
    many = fold((f"h.{i}", 0) for i in range(0, 40, 2))
    assert many[0].name == "h.{0,2,4,6,8,...,38}" and many[0].count == 20


def test_forty_seven_thousand_keys(tmp_path: Path) -> None:
    """Planned without a quadratic step: ten times the keys of a dense model."""
    body = "index: {i: 61, e: 256}\nrules: ['l.{i}.e.{e}.(w1|w2|w3) <> h.{i}.x.{e}.(gate|down|up)']\n"
    theirs = {f"l.{i}.e.{e}.w{w}": (2, 3) for i in range(61) for e in range(256) for w in (1, 2, 3)}
    ours = {f"h.{i}.x.{e}.{w}": (2, 3) for i in range(61) for e in range(256) for w in ("gate", "down", "up")}
    made = plan(maps.write(tmp_path, body), maps.ours(ours), maps.theirs(theirs))
    assert len(made.aliased()) == 61 * 256 * 3
