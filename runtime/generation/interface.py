"""How a model is fed when it generates, told from its program: no family is named anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from compiler.backend.build import program_of
from compiler.diagnostics.diagnostic import fail
from compiler.ir.graph import Attr
from compiler.ir.program import Argument, MethodDecl, Program
from compiler.ir.types import TensorType
from compiler.ir.values import Value

#: Standard names of ports.
TOKENS, MASK, SOURCE, SOURCE_MASK, LOGITS = ("tokens", "target"), "mask", "source", "source_mask", "logits"
#: The task of a spec without a cache whose logits are those of the next token, and not of a masked one.
GENERATION = "text-generation"


@dataclass(frozen=True)
class Encoder:
    """What runs once: the method `encode`, what it reads, and which arguments of `decode` it gives."""

    source: TensorType
    takes_mask: bool
    gives: tuple[str, ...]  # for each of its outputs, the argument that takes it, or ""
    longest: int | None  # of the source; None: any length


@dataclass(frozen=True)
class Interface:
    """What runs at each step: `forward`, or `decode` where there is an encoder."""

    spec: str
    tokens: str  # the argument that takes the sequence
    takes_mask: bool
    takes_source_mask: bool
    encoder: Encoder | None
    cached: bool
    context: int | None  # how many tokens the model can look at; None: any number
    vocab: int | None
    io: Mapping[str, Value]


def interface_of(model: nn.Module) -> Interface:
    """Raises CompileError for a module that generates no tokens."""
    try:
        program = program_of(model)
    except TypeError as error:
        raise fail("usage", str(error), None, help="pass what `runtime.load` gave") from None
    return program_interface(program)


def program_interface(program: Program) -> Interface:
    """Raises CompileError for a program that generates no tokens."""
    methods = {method.name: method for method in program.methods}
    encode, decode = methods.get("encode"), methods.get("decode")
    unit = program.root.unit
    arguments = unit.arguments if decode is None else decode.arguments
    outputs = unit.outputs if decode is None else decode.outputs
    names = {argument.name for argument in arguments}
    tokens = next((name for name in TOKENS if name in names), None)
    if tokens is None or LOGITS not in outputs:
        raise _cannot(program, f"it takes no `{TOKENS[0]}`" if tokens is None else "it gives no `logits`")
    logits = program.typed.root.type_of(outputs[LOGITS])
    task = program.typed.graph.task
    if logits.rank != 3:
        raise _cannot(program, f"its logits are {logits}")
    if decode is None and not program.typed.cached and task != GENERATION:
        raise _cannot(program, f"it has no cache, and its task is {task or 'not told'}, not {GENERATION}")
    encoder = _encoder(program, encode, decode) if decode is not None else None
    _check_required(program, arguments, {tokens, *(encoder.gives if encoder else ())})
    bounds = program.typed.graph.max_dims
    return Interface(
        spec=program.name,
        tokens=tokens,
        takes_mask=MASK in names,
        takes_source_mask=SOURCE_MASK in names,
        encoder=encoder,
        cached=bool(program.typed.cached) and (decode is None or decode.cached),
        context=_bound(bounds, "K", "T"),
        vocab=logits.shape[-1].constant,
        io=program.typed.graph.io,
    )


def _encoder(program: Program, encode: MethodDecl | None, decode: MethodDecl) -> Encoder:
    """What `decode` cuts must be what `encode` gives."""
    given = {ref: name for name, ref in encode.outputs.items()} if encode is not None else {}
    if encode is None or not set(decode.cut.values()) <= set(given):
        raise _cannot(program, "its method `decode` needs what no method `encode` gives")
    _check_required(program, encode.arguments, {SOURCE})
    source = program.typed.root.inputs.get(SOURCE)
    if source is None:
        raise _cannot(program, f"its encoder takes no `{SOURCE}`")
    takers = {ref: name for name, ref in decode.cut.items()}
    gives = tuple(takers.get(ref, "") for ref in encode.outputs.values())
    longest = _bound(program.typed.graph.max_dims, *map(str, source.shape[1:2]))
    return Encoder(source, SOURCE_MASK in {a.name for a in encode.arguments}, gives, longest)


def _check_required(program: Program, arguments: tuple[Argument, ...], known: set[str]) -> None:
    """Nothing else may be required; an input with a default, such as `target`, is optional in the text."""
    for argument in arguments:
        if not argument.optional and argument.name not in known:
            raise _cannot(program, f"it needs `{argument.name}`")


def _bound(bounds: Mapping[str, Attr], *names: str) -> int | None:
    found = [bounds[name].value for name in names if name in bounds]
    return min(found, default=None)


def _cannot(program: Program, why: str) -> Exception:
    return fail(
        "usage",
        f"the spec {program.name} generates no tokens: {why}",
        program.typed.root.block.span,
        help="`generate` runs language models: `tokens` in, `logits` out, or `encode` and `decode`",
    )
