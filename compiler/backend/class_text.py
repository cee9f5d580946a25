"""One class of the text: constructor, forward, and what it keeps of earlier tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from compiler.backend.expressions import Holes, Names, axes_comment
from compiler.backend.freeze import freeze
from compiler.backend.init_text import init_weights
from compiler.backend.lengths import forward_lengths, method_lengths
from compiler.backend.lines import broken, docstring, indented, wrapped
from compiler.backend.steps import Body, action_literals, write_body
from compiler.ir.code import literals
from compiler.ir.dims import Dim
from compiler.ir.graph import Ref
from compiler.ir.program import Action, ClassDecl, Member, MethodDecl, Program, Unit
from compiler.passes.classes import holes as unit_holes
from compiler.passes.methods import last_position, staged


def output_class(root: str) -> str:
    """The name of the NamedTuple that forward returns when it has several outputs."""
    return f"{root}Output"


class ClassWriter:
    """Writes the class of one declaration; the root's writer adds entry points."""

    def __init__(self, program: Program, declaration: ClassDecl, by_unit: dict[int, ClassDecl]) -> None:
        self.program = program
        self.declaration = declaration
        self.by_unit = by_unit
        self.is_root = declaration is program.root
        self.holes = Holes(iter(zip(declaration.holes, declaration.varies, strict=True)))
        self._step_holes: dict[int, list[str]] = {}  # action -> the texts of its literals

    @property
    def unit(self) -> Unit:
        """The instance that the text is read off."""
        return self.declaration.unit

    def lines(self) -> list[str]:
        """The class from `class` to its last method."""
        members = [line for m in self.unit.members for line in self._member(m)]
        for action in self.unit.actions:
            self._step_holes[id(action)] = [self.holes.take(inside=True) for _ in action_literals(action)]
        methods = [self._forward(), *self._methods(), self._new_cache()]
        if self.is_root:
            methods.append(init_weights(self.program))
        arguments = self.declaration.arguments
        kept = [f"self.{a} = {a}" for a in arguments if a in self.holes.kept]
        if arguments or members:
            head = f"def __init__({', '.join(('self', *arguments))}):"
            frozen = freeze(self.program) if self.is_root else []
            methods.insert(0, [head, *indented(["super().__init__()", *kept, *members, *frozen])])
        out = [f"class {self.declaration.name}(nn.Module):", *indented(docstring(self._doc()))]
        for method in methods:
            if method:
                out += ["", *indented(method)]
        return broken(out)

    # -- constructor ----------------------------------------------------------------------------------------

    def _member(self, member: Member) -> list[str]:
        if member.code is not None:
            texts = iter([self.holes.take(inside=False) for _ in literals(member.code)])
            made = "".join(p if isinstance(p, str) else next(texts) for p in member.code.pieces)
            return [f"self.{member.name} = {made}"]
        if member.layers is None:
            return [f"self.{member.name} = {self._instance(member.children[0])}"]
        if len(set(member.layers)) == 1:
            count = self.holes.take(inside=False)
            made = self._instance(member.children[0])
            return [f"self.{member.name} = nn.ModuleList({made} for _ in range({count}))"]
        made_by_kind = [self._instance(c) for c in member.children]
        return _listed(member, made_by_kind)

    def _instance(self, child: Unit) -> str:
        """A constructor call of a child's class, with the arguments that vary."""
        declaration = self.by_unit[id(child)]
        texts = [self.holes.take(inside=False) for _ in unit_holes(child)]
        arguments: list[str] = []
        for name in declaration.arguments:
            at = next(i for i, v in enumerate(declaration.varies) if v and declaration.holes[i] == name)
            arguments.append(f"{name}={texts[at]}")
        return f"{declaration.name}({', '.join(arguments)})"

    # -- methods --------------------------------------------------------------------------------------------

    def _forward(self) -> list[str]:
        arguments = self.unit.arguments
        names = Names.public(arguments) if self.is_root else Names.private(arguments)
        head = f"def forward({', '.join(self._signature(names))}):"
        if not self.is_root:
            body = self._body(self.unit.actions, self.unit.outputs)
            return [head, *indented(write_body(body, names))]
        program = self.program
        checked = {a.name for m in program.methods if m.is_stage for a in m.arguments}
        lengths = forward_lengths(program, names, checked)
        early = self.unit.typed.block.early
        outputs = {name: ref for name, ref in self.unit.outputs.items() if name != early}
        first = next(iter(outputs.values()))
        body = replace(
            self._body(staged(self.unit.actions, program.methods), outputs),
            cut=last_position(program.typed, first) if program.typed.cached else None,
            output_class=output_class(self.declaration.name),
            maybe=self.unit.typed.block.maybe,
            early=self.unit.outputs.get(early),
        )
        return [head, *indented(write_body(body, names, lengths))]

    def _body(self, actions: tuple[Action, ...], outputs: Mapping[str, Ref]) -> Body:
        holes = tuple(self._step_holes.get(id(a), []) for a in actions)
        return Body(self.declaration, actions, holes, outputs)

    def _signature(self, names: Names) -> list[str]:
        out = ["self"]
        for argument in self.unit.arguments:
            name = names.names[Ref(argument.name)]
            out.append(f"{name}=None" if self.is_root and argument.optional else name)
        if self.is_root and self.program.typed.cached:
            return [*out, "cache=None", "last=False"]
        out += ["past"] if self.unit.uses_past else []
        return [*out, "cache"] if self.unit.uses_cache else out

    def _methods(self) -> list[list[str]]:
        """The spec's other entry points."""
        return [self._method(m) for m in self.program.methods] if self.is_root else []

    def _method(self, method: MethodDecl) -> list[str]:
        names = Names.public(method.arguments)
        for name, ref in method.cut.items():
            names.names[ref] = name
        arguments = [f"{a.name}=None" if a.optional else a.name for a in method.arguments]
        body = self._body(method.actions, method.outputs)
        if method.cached:
            arguments += ["cache=None", "last=False"]
            body = replace(body, cut=last_position(self.program.typed, next(iter(method.outputs.values()))))
            lengths = forward_lengths(self.program, names, ())
        else:
            lengths = method_lengths(self.program, names)
        lines = write_body(body, names, lengths)
        doc = docstring(wrapped(method.summary, 2)) if method.summary.strip() else []
        return [f"def {method.name}({', '.join(['self', *arguments])}):", *indented([*doc, *lines])]

    # -- cache ----------------------------------------------------------------------------------------------

    def _new_cache(self) -> list[str]:
        """`new_cache`: a plain dict that follows the module tree, so that it is a pytree as it stands."""
        if not self.unit.uses_cache:
            return []
        entries: list[str] = []
        for slots in self.unit.slots:
            if not slots.shapes:
                entries.append(f'"{slots.name}": None')
                continue
            tensors = [
                f"like.new_empty({', '.join(self._slot_size(d) for d in shape)})" for shape in slots.shapes
            ]
            entries.append(f'"{slots.name}": [{", ".join(tensors)}]')
        inner = "batch, capacity, like"
        for member in self.unit.members:
            if not member.children or not member.children[0].uses_cache:
                continue
            if member.layers is None:
                entries.append(f'"{member.name}": self.{member.name}.new_cache({inner})')
            else:
                entries.append(f'"{member.name}": [layer.new_cache({inner}) for layer in self.{member.name}]')
        if self.is_root:
            doc = '"""Room for `capacity` tokens; pass it as `cache`, it fills as forward runs."""'
            body = ["like = next(self.parameters())", 'return {"past": 0, ' + ", ".join(entries) + "}"]
            return ["def new_cache(self, batch, capacity):", *indented([doc, *body])]
        return [
            "def new_cache(self, batch, capacity, like):",
            *indented(["return {" + ", ".join(entries) + "}"]),
        ]

    def _slot_size(self, size: Dim) -> str:
        if size.constant is not None:
            return self.holes.take(inside=True)
        return "capacity" if str(size) == "K" else "batch"

    # -- words ----------------------------------------------------------------------------------------------

    def _doc(self) -> list[str]:
        block = self.unit.typed.block
        lines = wrapped(block.summary.strip() or f"The block `{block.name}`.", 1)
        if block.source.strip() and not self.is_root:
            lines += ["", *wrapped(block.source, 1)]
        ports = []
        for port in block.inputs:
            shapes = [(u.typed, u.typed.inputs[port.name].shape) for u in self.declaration.units]
            found = self.unit.typed.inputs[port.name]
            optional = port.maybe or port.default is not None
            ports.append(f"{port.name}: {found.dtype}{axes_comment(shapes)}{'?' if optional else ''}")
        return [*lines, "", *wrapped(", ".join(ports), 1)] if ports else lines


def _listed(member: Member, made: list[str]) -> list[str]:
    """A list of layers of several kinds, runs folded."""
    assert member.layers is not None
    runs: list[tuple[str, int]] = []
    for kind in member.layers:
        if runs and runs[-1][0] == made[kind]:
            runs[-1] = (made[kind], runs[-1][1] + 1)
        else:
            runs.append((made[kind], 1))
    if len(runs) == 1:
        return [f"self.{member.name} = nn.ModuleList({made[0]} for _ in range({len(member.layers)}))"]
    entries = [text if n == 1 else f"*({text} for _ in range({n}))" for text, n in runs]
    return [
        f"self.{member.name} = nn.ModuleList(",
        "    [",
        *(f"        {e}," for e in entries),
        "    ]",
        ")",
    ]
