"""One class of the text: constructor, forward, and what it keeps of earlier tokens."""

from __future__ import annotations

import textwrap

from compiler.backend.init_text import init_weights
from compiler.backend.expressions import Holes, Names, axes_comment
from compiler.backend.steps import Body, action_literals, write_body
from compiler.ir.code import literals
from compiler.ir.dims import Dim
from compiler.ir.graph import Ref
from compiler.ir.program import ClassDecl, Member, Program, Unit
from compiler.passes.classes import holes as unit_holes
from compiler.passes.methods import last_position, staged

WIDTH = 100


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
        return self.declaration.unit

    def lines(self) -> list[str]:
        """The class from `class` to its last method."""
        members = [line for m in self.unit.members for line in self._member(m)]
        for action in self.unit.actions:
            self._step_holes[id(action)] = [self.holes.take(inside=True) for _ in action_literals(action)]
        slot_lines = self._new_cache()
        kept = self._kept([t for texts in self._step_holes.values() for t in texts] + slot_lines)
        out = [f"class {self.declaration.name}(nn.Module):", *_indent(docstring(self._doc())), ""]
        if self.declaration.arguments or members:
            arguments = "".join(f", {a}" for a in self.declaration.arguments)
            out += [f"    def __init__(self{arguments}):", "        super().__init__()"]
            out += _indent([*kept, *members], 2) + [""]
        out += _indent(self._forward())
        for extra in (slot_lines, self._methods(), init_weights(self.program) if self.is_root else []):
            if extra:
                out += ["", *_indent(extra)]
        return out

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

    def _kept(self, texts: list[str]) -> list[str]:
        """Arguments that forward needs are kept as attributes."""
        used = " ".join(texts)
        return [f"self.{a} = {a}" for a in self.declaration.arguments if f"self.{a}" in used]

    # -- forward --------------------------------------------------------------------------------------------

    def _forward(self) -> list[str]:
        names = Names(set())
        for argument in self.unit.arguments:
            names.add(Ref(argument.name), argument.name)
        signature = self._signature(names)
        cut = last_position(self.program.typed) if self.is_root and self.program.typed.cached else None
        body = Body(self.program, self.declaration, names, self.is_root, cut)
        actions = staged(self.unit.actions, self.program.methods) if self.is_root else self.unit.actions
        holes = [self._step_holes.get(id(a), []) for a in actions]
        lines = write_body(body, actions, self.unit.outputs, holes, WIDTH - 8)
        return [f"def forward({', '.join(signature)}):", *_indent(lines)]

    def _methods(self) -> list[str]:
        """The spec's other entry points."""
        if not self.is_root:
            return []
        texts = self._step_holes
        out: list[str] = []
        for method in self.program.methods:
            names = Names(set())
            for argument in method.arguments:
                names.add(Ref(argument.name), argument.name)
            for name, ref in method.cut.items():
                names.names[ref] = names.names[Ref(name)]
            arguments = [f"{names.names[Ref(a.name)]}=None" if a.optional else names.names[Ref(a.name)] for a in method.arguments]
            body = Body(self.program, self.declaration, names, is_root=False)
            holes = [texts[id(a)] for a in method.actions]
            lines = write_body(body, method.actions, method.outputs, holes, WIDTH - 8)
            doc = docstring([method.summary]) if method.summary else []
            out += [*([""] if out else []), f"def {method.name}({', '.join(['self', *arguments])}):", *_indent([*doc, *lines])]
        return out

    def _signature(self, names: Names) -> list[str]:
        out = ["self"]
        for argument in self.unit.arguments:
            name = names.names[Ref(argument.name)]
            out.append(f"{name}=None" if self.is_root and argument.optional else name)
        if self.is_root and self.program.typed.cached:
            return [*out, "cache=None", "last=False"]
        out += ["past"] if self.unit.uses_past else []
        return [*out, "cache"] if self.unit.uses_cache else out

    # -- cache ----------------------------------------------------------------------------------------------

    def _new_cache(self) -> list[str]:
        """`new_cache`: a plain dict that follows the module tree, so that it is a pytree as it stands."""
        if not self.unit.uses_cache:
            return []
        entries: list[str] = []
        for slots in self.unit.slots:
            tensors = [f"like.new_empty({', '.join(self._slot_size(d) for d in shape)})" for shape in slots.shapes]
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
            return ["def new_cache(self, batch, capacity):", *_indent([doc, *body])]
        return ["def new_cache(self, batch, capacity, like):", *_indent(["return {" + ", ".join(entries) + "}"])]

    def _slot_size(self, size: Dim) -> str:
        if size.constant is not None:
            return self.holes.take(inside=True)
        return "capacity" if str(size) == "K" else "batch"

    # -- words ----------------------------------------------------------------------------------------------

    def _doc(self) -> list[str]:
        block = self.unit.typed.block
        lines = wrapped(block.summary or f"The block `{block.name}`.")
        if block.source:
            lines += ["", *wrapped(block.source)]
        ports = []
        for port in block.inputs:
            shapes = [(u.typed, u.typed.inputs[port.name].shape) for u in self.declaration.units]
            found = self.unit.typed.inputs[port.name]
            ports.append(f"{port.name}: {found.dtype}{axes_comment(shapes)}{'?' if port.maybe else ''}")
        return [*lines, "", *wrapped(", ".join(ports))] if ports else lines


def _listed(member: Member, made: list[str]) -> list[str]:
    """A list of layers of several kinds, runs folded."""
    assert member.layers is not None
    runs: list[tuple[int, int]] = []
    for kind in member.layers:
        if runs and runs[-1][0] == kind:
            runs[-1] = (kind, runs[-1][1] + 1)
        else:
            runs.append((kind, 1))
    entries = [made[k] if n == 1 else f"*({made[k]} for _ in range({n}))" for k, n in runs]
    return [f"self.{member.name} = nn.ModuleList(", "    [", *(f"        {e}," for e in entries), "    ]", ")"]


def wrapped(text: str) -> list[str]:
    """Words in lines that fit."""
    return textwrap.wrap(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def docstring(lines: list[str]) -> list[str]:
    """Lines as a docstring; nothing in them can end it."""
    safe = [line.replace("\\", "\\\\").replace('"""', '\\"\\"\\"') for line in lines]
    if safe[-1].endswith('"'):
        safe[-1] += " "
    if len(safe) == 1:
        return [f'"""{safe[0]}"""']
    return [f'"""{safe[0]}', *safe[1:], '"""']


def _indent(lines: list[str], levels: int = 1) -> list[str]:
    return ["    " * levels + line if line else "" for line in lines]
