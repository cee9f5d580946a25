"""The grammar of rules and layouts: what it takes, what it refuses and where it points."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.expand import expand
from compiler.weights.library import Library
from compiler.weights.rules import RuleError, parse_key, parse_rule, parse_under
from tests.unit.weights import maps


def pairs(folder: Path, body: str, **values: int) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    expansion = expand(maps.write(folder, body), values)
    return [(instance.theirs, instance.ours) for instance in expansion.instances]


def test_expansion(tmp_path: Path) -> None:
    body = """\
let: {E: =experts + 1}
index: {i: =depth, p: [weight, bias]}
rules:
  - under: (enc|dec).{i}. <> (e|d).{i}.
    rules:
      - fc(1|2).{p} <> (up|down).{p}
  - mtp.{i+1}.x <> m.{i}
  - shared.{i+E} <> s.{i}
  - {map: gated <> gate, when: =experts > 3}
  - {map: plain <> up, when: =experts <= 3}
"""
    found = pairs(tmp_path, body, depth=2, experts=4)
    assert len(found) == 2 * 2 * 2 * 2 + 2 + 2 + 1
    assert (("dec.1.fc2.bias",), ("d.1.down.bias",)) in found
    assert (("enc.0.fc1.weight",), ("e.0.up.weight",)) in found
    assert (("mtp.2.x",), ("m.1",)) in found
    assert (("shared.6",), ("s.1",)) in found
    assert (("gated",), ("gate",)) in found


def test_members_and_stacks(tmp_path: Path) -> None:
    body = """\
index: {i: =depth, e: =experts}
rules:
  - l.{i}.{e}.[w1|w3] <> l.{i}.gate_up as * i -> {e} [f|f] i
"""
    found = pairs(tmp_path, body, depth=2, experts=2)
    assert found[1] == (("l.1.0.w1", "l.1.0.w3", "l.1.1.w1", "l.1.1.w3"), ("l.1.gate_up",))


def test_names_are_literal(tmp_path: Path) -> None:
    """Spaces, slashes, colons and the metacharacters of regular expressions."""
    body = "rules:\n  - 'a b/c::d.*+^$\\ <> x'\n"
    assert pairs(tmp_path, body) == [(("a b/c::d.*+^$\\",), ("x",))]


def test_include_puts_prefixes_around_everything(tmp_path: Path) -> None:
    (tmp_path / "part.yaml").write_text(
        "weightmap: 1\nindex: {i: =depth}\nrules: ['w.{i} <> v.{i}']\n"
        "drop: {'buf.{i}?': 'no use'}\ntie: {copy: w.0}\nalias: {'old.{i}': 'w.{i}'}\n"
    )
    body = "rules:\n  - {under: '(a|b). <> (x|y).', include: [part]}\n"
    expansion = expand(maps.write(tmp_path, body), {"depth": 2})
    assert [i.theirs for i in expansion.instances] == [("a.w.0",), ("a.w.1",), ("b.w.0",), ("b.w.1",)]
    assert set(expansion.drops) == {"a.buf.0", "a.buf.1", "b.buf.0", "b.buf.1"}
    assert {k: v[0] for k, v in expansion.ties.items()} == {"a.copy": "a.w.0", "b.copy": "b.w.0"}
    assert expansion.aliases["b.old.1"][0] == "b.w.1"


def test_extends_adds_and_overrides(tmp_path: Path) -> None:
    maps.write(tmp_path, "index: {i: =1}\nrules: ['w.{i} <> v.{i}']\ndrop: {x?: no use}\n")
    child = "weightmap: 1\nspec: toy\ndialect: kid\nextends: toy.hf\nindex: {i: =2}\ndrop: {y: no use}\n"
    (tmp_path / "toy.kid.yaml").write_text(child)
    expansion = expand(Library((tmp_path,)).load("toy.kid"), {})
    assert len(expansion.instances) == 2 and set(expansion.drops) == {"x", "y"}


@pytest.mark.parametrize(
    ("text", "start", "message"),
    [
        ("a.b", 0, "a rule is"),
        ("a <> b <> c", 6, "a rule has one"),
        ("a.{i <> b", 2, "`{` is not closed"),
        ("a.i} <> b", 3, "`}` has no meaning here"),
        ("a.(b|(c)) <> b", 5, "`(` has no meaning here"),
        ("a?.b <> c", 1, "`?` has no meaning here"),
        ("a.(b|b) <> c", 3, "two alternatives are equal"),
        ("a.{i+} <> b", 5, "found the end of the expression"),
        ("[a|b] <> c", 0, "members need a layout"),
        ("[a|b] <> [c|d] as * -> [n|n]", 0, "members stand on one side only"),
        ("a.[b|c].[d|e] <> x", 0, "a side has one group of members"),
        ("a <> [b|c|d] as [n|n] -> *", 0, "the layout has a sum of 2 axes, the rule 3 members"),
        ("a <> [b|c] as * -> [n|n]", 0, "the layout has a sum of 2 axes, the rule 2 members"),
        ("a <> b as i o", 10, "a layout is"),
        ("a <> b as i o -> o", 10, "the axis `i` must stand once on each side"),
        ("a <> b as i i -> i i", 10, "the axis `i` must stand once on each side"),
        ("a <> b as (i o -> o i", 10, "a parenthesis is not closed"),
        ("a <> b as i) -> i", 11, "parentheses do not match"),
        ("a <> b as i! -> i", 11, "not an axis"),
        ("a <> b as [n] -> *", 11, "a sum is"),
        ("a <> b as * -> i", 10, "the axis `i` must stand"),
        ("a <> b as {e} i -> {e} i", 10, "a stack axis stands once, on one side"),
    ],
)
def test_refusals(text: str, start: int, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule(text)
    assert caught.value.message.startswith(message), caught.value.message
    assert caught.value.start == start, caught.value.start


def test_refusals_of_keys_and_prefixes() -> None:
    with pytest.raises(RuleError, match=r"members"):
        parse_key("a.[b|c]")
    with pytest.raises(RuleError, match=r"only their prefix"):
        parse_under("a. <> b.?")
    with pytest.raises(RuleError, match=r"plain text"):
        parse_under("a.{i}.? <> b.")


BROKEN = """\
index: {i: =depth}
rules:
  - a.(b|c) <> x.(y|z|w)
  - b.{i} <> y
  - under: c.{j <> d.
    rules: []
  - "d.{j} <> d.{j}"
drop: {"e": " "}
"""


def test_all_faults_of_a_map_in_one_report(tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        maps.write(tmp_path, BROKEN)
    assert maps.report(caught.value, tmp_path) == GOLDEN


GOLDEN = """\
error[rule-syntax]: the alternatives do not pair up: (2) on the left, (3) on the right
  --> toy.hf.yaml:6:5
  |
6 |   - a.(b|c) <> x.(y|z|w)
  |     ^^^^^^^^^^^^^^^^^^^^
help: the k-th (a|b) of each side go together; several in one tensor are [a|b]

error[rule-syntax]: the index {i} stands on one side only
  --> toy.hf.yaml:7:5
  |
7 |   - b.{i} <> y
  |     ^^^^^^^^^^
help: an index names a tensor on both sides, or is a stack axis of the side without it

error[rule-syntax]: `{` is not closed
  --> toy.hf.yaml:8:14
  |
8 |   - under: c.{j <> d.
  |              ^

error[bad-value]: a drop needs its reason
   --> toy.hf.yaml:11:13
   |
11 | drop: {"e": " "}
   |             ^^^

4 errors"""


@pytest.mark.parametrize(
    ("body", "where", "message"),
    [
        ("rules: ['a.{j} <> b.{j}']\n", "4:9", "`{j}` is not an index"),
        ("index: {i: =dept}\n", "4:13", "there is no param `dept`"),
        ("index: {i: =depth - 9}\n", "4:9", "`i` is -6, not a whole number"),
        ("index: {i: =depth / 2}\n", "4:12", "3 / 2 is not a whole number"),
        ("index: {p: [a, a]}\n", "4:9", "`p` is a count, or a list of different words"),
        ("index: {i: =depth}\nrules: ['a.{i-1} <> b.{i}']\n", "5:9", "{i-1} is -1, not a count"),
        ("rules: [{map: a <> b, when: =depth}]\n", "4:29", "`3` is no condition"),
        ("let: {H: =x}\n", "4:11", "there is no param `x`"),
    ],
)
def test_faults_of_expansion(tmp_path: Path, body: str, where: str, message: str) -> None:
    with pytest.raises(CompileError) as caught:
        expand(maps.write(tmp_path, body), {"depth": 3})
    text = maps.report(caught.value, tmp_path)
    assert f"toy.hf.yaml:{where}" in text and message in text, text


@pytest.mark.parametrize(
    ("body", "where", "message"),
    [
        ("rulez: []\n", "4:1", "`rulez` is not a field here"),
        ("rules: [{map: a <> b, wen: x}]\n", "4:23", "`wen` is not a field here"),
        ("rules: [3]\n", "4:9", "a text belongs here"),
        ("drop: {a: }\n", "4:11", "a text is missing here"),
        ("default: yes\n", "4:10", "true or false belongs here"),
        ("extends: toy.other\n", "4:10", "there is no weight map `toy.other`"),
        ("include: [nothing]\n", "4:11", "there is no weight map `nothing`"),
        ("extends: toy.hf\n", "4:10", "weight maps extend each other"),
        ("config: {keys: {a: {}}}\n", "4:17", "gives a `param` or chooses between `cases`"),
        ("config: {keys: {a: {param: x, write: =1}}}\n", "4:17", "needs `read`"),
        ("config: {kees: {}}\n", "4:10", "`kees` is not a field here"),
    ],
)
def test_faults_of_the_surface(tmp_path: Path, body: str, where: str, message: str) -> None:
    with pytest.raises(CompileError) as caught:
        maps.write(tmp_path, body)
    text = maps.report(caught.value, tmp_path)
    assert f"toy.hf.yaml:{where}" in text and message in text, text


def test_fragments_that_include_each_other(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("weightmap: 1\ninclude: [two]\n")
    (tmp_path / "two.yaml").write_text("weightmap: 1\ninclude: [one]\n")
    with pytest.raises(CompileError, match=r"fragments include each other"):
        maps.write(tmp_path, "include: [one]\n")
