"""The verifiers see every rule of their level broken; each case breaks one thing of a graph that holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from compiler.ir.dims import dim, symbol
from compiler.ir.graph import Attr, Block, Graph, InputPort, Node, OpNode, Ref, RepeatNode, SameNode, UseNode
from compiler.ir.program import Program
from compiler.ir.typed import TypedBlock, TypedGraph
from compiler.ir.verify import InvalidIR, verify_graph, verify_typed
from compiler.ir.verify_program import verify_program
from compiler.passes.library import spec_names
from compiler.pipeline import compile, graph, typed_graph
from compiler.source.text import BUILTIN

SIZES = {"vocab": 53, "context": 13, "dim": 12, "depth": 3, "heads": 3}
SPECS = spec_names()


@pytest.mark.parametrize("spec", SPECS)
def test_shipped_specs_hold(spec: str) -> None:
    verify_graph(graph(spec))
    verify_typed(typed_graph(spec))
    verify_program(compile(spec))


def node(block: Block, name: str) -> Node:
    return next(n for n in block.nodes if n.name == name)


def with_node(block: Block, name: str, changed: Node) -> Block:
    return replace(block, nodes=tuple(changed if n.name == name else n for n in block.nodes))


def wired(block: Block, name: str, port: str, ref: Ref) -> Block:
    found = node(block, name)
    return with_node(block, name, replace(found, inputs={**found.inputs, port: ref}))


def repeated(block: Block, change: Callable[[RepeatNode], RepeatNode]) -> Block:
    found = node(block, "h")
    assert isinstance(found.action, RepeatNode)
    return with_node(block, "h", replace(found, action=change(found.action)))


def in_layer(change: Callable[[Block], Block]) -> Callable[[Block], Block]:
    return lambda block: repeated(block, lambda r: replace(r, bodies=(change(r.bodies[0]),)))


def tied_to(name: str) -> Callable[[Block], Block]:
    def change(block: Block) -> Block:
        head = node(block, "lm_head")
        assert isinstance(head.action, OpNode)
        shares = {"weight": Attr(name, BUILTIN)}
        return with_node(block, "lm_head", replace(head, action=replace(head.action, shares=shares)))

    return change


GRAPH_FAULTS: dict[str, Callable[[Block], Block]] = {
    "sum reads gone": lambda b: wired(b, "sum", "x", Ref("gone", "y")),
    "wte reads ln_f.y, which is no earlier": lambda b: wired(b, "wte", "ids", Ref("ln_f", "y")),
    "sum reads pos.gone": lambda b: wired(b, "sum", "x", Ref("pos", "gone")),
    "attn reads gone": in_layer(lambda b: wired(b, "attn", "x", Ref("gone"))),
    "wte stand twice": lambda b: replace(b, nodes=(*b.nodes, node(b, "wte"))),
    "tokens stand twice": lambda b: replace(b, inputs=(*b.inputs, b.inputs[0])),
    "the output logits is gone": lambda b: replace(b, outputs={"logits": Ref("gone", "y")}),
    "mask defaults to no value": lambda b: replace(
        b, inputs=(b.inputs[0], replace(b.inputs[1], default=Ref("gone")), *b.inputs[2:])
    ),
    "the wires of attn are not the ports": in_layer(lambda b: wired(b, "attn", "extra", Ref("x"))),
    "layers and modules differ in number": lambda b: repeated(b, lambda r: replace(r, modules=(0, 1))),
    "a body without a layer": lambda b: repeated(b, lambda r: replace(r, bodies=r.bodies * 2)),
    "a label per body": lambda b: repeated(b, lambda r: replace(r, labels=())),
    "modules are not counted from 0": lambda b: repeated(b, lambda r: replace(r, modules=(0, 1, 3))),
    "does not take gone": lambda b: repeated(b, lambda r: replace(r, carried="gone")),
    "ports that nothing feeds": in_layer(
        lambda b: replace(b, inputs=(*b.inputs, InputPort("extra", None, BUILTIN)))
    ),
    "calls later again": lambda b: with_node(
        b, "drop", replace(node(b, "drop"), action=SameNode("later"), inputs={"x": Ref("sum", "y")})
    ),
}


@pytest.mark.parametrize("message", GRAPH_FAULTS)
def test_a_broken_graph_is_seen(message: str) -> None:
    sound = graph("gpt2", set=SIZES)
    with pytest.raises(InvalidIR, match=message):
        verify_graph(replace(sound, root=GRAPH_FAULTS[message](sound.root)))


def test_a_method_that_gives_no_value_is_seen() -> None:
    sound = graph("clip_vitb32")
    lost = replace(sound.methods[0], outputs={"image_features": Ref("gone", "y")})
    with pytest.raises(InvalidIR, match=r"method encode_image: gone\.y is no value"):
        verify_graph(replace(sound, methods=(lost,)))


def test_one_module_with_two_bodies_is_seen() -> None:
    sound = graph("gpt2", set=SIZES)
    broken = repeated(
        sound.root,
        lambda r: replace(r, bodies=r.bodies * 2, labels=("a", "b"), layers=(0, 1, 0), modules=(0, 0, 1)),
    )
    with pytest.raises(InvalidIR, match="one module has two bodies"):
        verify_graph(replace(sound, root=broken))


def rewritten(root: TypedBlock, change: Callable[[Block], Block]) -> TypedBlock:
    """A typed block over a changed block of the same nodes."""
    block = change(root.block)
    nodes = tuple(replace(typed, node=node) for typed, node in zip(root.nodes, block.nodes, strict=True))
    return replace(root, block=block, nodes=nodes)


def typed_faults(root: TypedBlock) -> dict[str, TypedBlock]:
    """Broken typed blocks by what is said of them."""
    wte = root.nodes[0]
    unfixed = replace(wte, weights=(replace(wte.weights[0], shape=(symbol("T"), dim(12))),))
    layers = root.node("h")
    childless = tuple(replace(n, children=()) if n is layers else n for n in root.nodes)
    return {
        "inputs and their types differ": replace(root, inputs={}),
        "the typed nodes are not the block's": replace(root, nodes=root.nodes[1:]),
        "outputs of wte without a type": replace(root, nodes=(replace(wte, outputs={}), *root.nodes[1:])),
        "the weight wte.weight has no fixed shape": replace(root, nodes=(unfixed, *root.nodes[1:])),
        "h has other children": replace(root, nodes=childless),
        "tied to gone.weight": rewritten(root, tied_to("gone.weight")),
    }


@pytest.mark.parametrize("message", typed_faults(typed_graph("gpt2", set=SIZES).root))
def test_a_broken_typed_graph_is_seen(message: str) -> None:
    sound = typed_graph("gpt2", set=SIZES)
    with pytest.raises(InvalidIR, match=message):
        verify_typed(replace(sound, root=typed_faults(sound.root)[message]))


def program_faults(sound: Program) -> dict[str, Program]:
    """Broken programs by what is said of them."""
    table, classes = sound.table, sound.classes
    first = table.parameters[0]
    attention = classes[0]
    assert attention.name == "Attention"

    def with_table(**change: Any) -> Program:
        return replace(sound, table=replace(table, **change))

    def with_class(**change: Any) -> Program:
        return replace(sound, classes=(replace(attention, **change), *classes[1:]))

    return {
        "stands before the class of": replace(sound, classes=(*classes[1:-1], attention, classes[-1])),
        "two classes of one name": replace(sound, classes=(attention, *classes)),
        "the last class is not the root's": replace(sound, classes=classes[:-1]),
        "h.attn has [0-9]+ literals": with_class(holes=attention.holes[1:], varies=attention.varies[1:]),
        "literals and their kinds differ": with_class(holes=attention.holes[1:]),
        "arguments that nothing uses": with_class(arguments=("size",)),
        "has 12 for 13": with_class(holes=(13, *attention.holes[1:])),
        "the table and the graph differ": with_table(parameters=table.parameters[1:]),
        "the table and the graph differ: .*wte": with_table(
            parameters=(replace(first, shape=(12, 53)), *table.parameters[1:])
        ),
        "what is stored and the graph differ": replace(sound, stored=sound.stored[1:]),
        "lm_head.weight is tied to gone": with_table(ties={"lm_head.weight": "gone"}),
        "tensors without an initial value": replace(sound, inits=sound.inits[1:]),
    }


@pytest.mark.parametrize("message", program_faults(compile("gpt2", set=SIZES)))
def test_a_broken_program_is_seen(message: str) -> None:
    with pytest.raises(InvalidIR, match=message):
        verify_program(program_faults(compile("gpt2", set=SIZES))[message])


def test_a_use_that_gives_other_values_is_seen() -> None:
    sound: Graph = graph("llama")
    angle = node(sound.root, "angle")
    assert isinstance(angle.action, UseNode)
    broken = with_node(sound.root, "angle", replace(angle, outputs=("other",)))
    with pytest.raises(InvalidIR, match="angle gives other values"):
        verify_graph(replace(sound, root=broken))


def test_the_pipeline_verifies_what_it_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def note(level: TypedGraph | Program | Graph) -> None:
        seen.append(type(level).__name__)

    monkeypatch.setattr("compiler.ir.verify.verify_graph", note)
    monkeypatch.setattr("compiler.ir.verify.verify_typed", note)
    monkeypatch.setattr("compiler.ir.verify_program.verify_program", note)
    compile("gpt2", set=SIZES)
    assert seen == ["Graph", "TypedGraph", "TypedGraph", "Program"]
