"""The body of a method: steps as lines, single-reader steps inside their readers, shapes as comments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.backend.expressions import Names, Pending, Printer, axes_comment
from compiler.ir.code import Code, Lit, literals
from compiler.ir.graph import Ref
from compiler.ir.program import Action, ClassDecl, Default, Loop, Program, Step
from compiler.passes.infer_shapes import KEY_LENGTH
from compiler.passes.methods import action_refs


@dataclass
class Body:
    """What a body is written for: the class, the names of its method, and whether it is the root's forward."""

    program: Program
    declaration: ClassDecl
    names: Names
    is_root: bool
    cut: Ref | None = None  # where `last` keeps the last position only


def action_literals(action: Action) -> list[Lit]:
    """The literals of an action in text order."""
    match action:
        case Step(code=text):
            return literals(text)
        case Loop(arguments=arguments):
            return [x for a in arguments if a is not None for x in literals(a)]
        case Default():
            return []


class BodyWriter:
    """Writes the actions of one method in order."""

    def __init__(self, body: Body, actions: tuple[Action, ...], outputs: Mapping[str, Ref], width: int) -> None:
        self.body = body
        self.unit = body.declaration.unit
        self.printer = Printer(self.unit.typed, body.names)
        self.width = width
        self.lines: list[str] = []
        self.readers = _readers(actions, outputs)
        self.single = _single_outputs(actions, self.readers)

    def write(self, action: Action, holes: list[str]) -> None:
        match action:
            case Step():
                self._step(action, holes)
                self._keep_last(action.targets[0])
            case Loop():
                self._loop(action, holes)
                self._keep_last(action.target)
            case Default(name=name, value=value):
                self.flush()
                target = self.body.names.names[Ref(name)]
                self.lines += [f"if {target} is None:", f"    {target} = {self.printer.value(value)}"]

    def _keep_last(self, target: Ref) -> None:
        if target == self.body.cut:
            name = self.body.names.names[target]
            self.lines += ["if last:", f"    {name} = {name}[:, -1:]"]

    # -- steps ----------------------------------------------------------------------------------------------

    def _step(self, step: Step, holes: list[str]) -> None:
        if not any(t in self.readers for t in step.targets):
            return
        text = self._fitted(step.code, holes, self.width - 12)
        readers = self.readers.get(step.targets[0], [])
        comment = self._comment(step.targets[0])
        if len(step.targets) == 1 and step.inline and self._may_move(step, readers):
            self._take(step.code)
            self.printer.pending[step.targets[0]] = Pending(step.targets[0], text, step.code.binds, comment)
            return
        self._take(step.code)
        names = [self._name(t) for t in step.targets]
        line = f"{', '.join(names)} = {text}"
        self._guarded(step, names, line, comment)

    def _may_move(self, step: Step, readers: list[Action | None]) -> bool:
        """One reader, a step under the same guard (or the return)."""
        if len(readers) != 1 or step.guard or step.targets[0] == self.body.cut:
            return False
        (reader,) = readers
        if reader is None:
            return True
        if isinstance(reader, Loop):
            return reader.start == step.targets[0]
        return isinstance(reader, Step) and not reader.guard and step.targets[0] in reader.code.refs()

    def _guarded(self, step: Step, names: list[str], line: str, comment: str) -> None:
        if not step.guard:
            self.lines.append(_commented(line, comment))
            return
        tests = " and ".join(f"{self.printer.value(g)} is not None" for g in step.guard)
        other = "None" if step.fallback is None else self.printer.value(step.fallback)
        if len(names) == 1:
            value = line.split(" = ", 1)[1]
            self.lines.append(_commented(f"{names[0]} = {value} if {tests} else {other}", comment))
            return
        self.lines += [f"{' = '.join(names)} = None", f"if {tests}:", "    " + _commented(line, comment)]

    def _loop(self, loop: Loop, holes: list[str]) -> None:
        start = self.printer.value(loop.start)
        texts = iter(holes)
        self.printer.pending.pop(loop.start, None)
        for argument in loop.arguments:
            if argument is not None:
                self._settle(argument)
        name = self._name(loop.target)
        self.lines.append(_commented(f"{name} = {start}", self._comment(loop.target)))
        arguments: list[str] = []
        for argument in loop.arguments:
            if argument is None:
                arguments.append(name)
            else:
                text = self.printer.render(argument, [next(texts) for _ in literals(argument)])
                arguments.append(f"{text}[i]" if loop.cached and text.endswith('"]') else text)
        self.lines.append(_loop_head(loop))
        self.lines.append(f"    {name} = layer({', '.join(arguments)})")

    # -- pending steps --------------------------------------------------------------------------------------

    def _fitted(self, code: Code, holes: list[str], width: int) -> str:
        """The text of a code, its pending operands written before it until it fits."""
        text = self.printer.render(code, holes)
        while len(text) > width:
            waiting = [self.printer.pending[r] for r in code.refs() if r in self.printer.pending]
            if not waiting:
                break
            self.settle(max(waiting, key=lambda p: len(p.text)))
            text = self.printer.render(code, holes)
        return text

    def _settle(self, code: Code) -> None:
        for ref in code.refs():
            if ref in self.printer.pending:
                self.settle(self.printer.pending[ref])

    def settle(self, waiting: Pending) -> None:
        """Write a pending step as a line of its own."""
        del self.printer.pending[waiting.target]
        self.lines.append(_commented(f"{self._name(waiting.target)} = {waiting.text}", waiting.comment))

    def _take(self, code: Code) -> None:
        """The pending operands of a code now stand in its text."""
        for ref in code.refs():
            self.printer.pending.pop(ref, None)

    def flush(self) -> None:
        for waiting in list(self.printer.pending.values()):
            self.settle(waiting)

    def _name(self, ref: Ref) -> str:
        if ref in self.body.names.names:
            return self.body.names.names[ref]
        wish = ref.node if ref.node in self.single else f"{ref.node}_{ref.port}"
        return self.body.names.add(ref, wish)

    def _comment(self, ref: Ref) -> str:
        return axes_comment([(u.typed, u.typed.type_of(ref).shape) for u in self.body.declaration.units])

    # -- the end --------------------------------------------------------------------------------------------

    def result(self, outputs: Mapping[str, Ref], advance: str = "") -> None:
        """The return, after the cache has advanced."""
        names = list(outputs)
        texts = {n: self.printer.value(r) for n, r in outputs.items()}
        whole = self._returned(texts, names)
        while len(whole) > self.width and self.printer.pending:
            self.settle(max(self.printer.pending.values(), key=lambda p: len(p.text)))
            texts = {n: self.printer.value(r) for n, r in outputs.items()}
            whole = self._returned(texts, names)
        if advance:
            self.lines += ["if cache is not None:", f"    {advance}"]
        comment = self._comment(next(iter(outputs.values()))) if len(outputs) == 1 else ""
        self.lines.append(_commented(f"return {whole}", comment))

    def _returned(self, texts: dict[str, str], names: list[str]) -> str:
        if len(names) == 1:
            return texts[names[0]]
        if not self.body.is_root:
            return ", ".join(texts.values())
        return f"{output_class(self.body.declaration.name)}(" + ", ".join(f"{n}={t}" for n, t in texts.items()) + ")"


def output_class(root: str) -> str:
    """The name of the NamedTuple that forward returns when it has several outputs."""
    return f"{root}Output"


def write_body(
    body: Body, actions: tuple[Action, ...], outputs: Mapping[str, Ref], holes: list[list[str]], width: int
) -> list[str]:
    """The lines of a method's body. holes: the texts of each action's literals."""
    writer = BodyWriter(body, actions, outputs, width)
    prologue, counted = _prologue(body)
    writer.lines += prologue
    for action, texts in zip(actions, holes, strict=True):
        writer.write(action, texts)
    advance = f'cache["past"] = past + {counted}' if body.is_root and body.program.typed.cached else ""
    writer.result(outputs, advance)
    return writer.lines


def _prologue(body: Body) -> tuple[list[str], str]:
    """What the root knows of the cache, and the bound on its length; also how many tokens a call brings."""
    program = body.program
    if body.declaration is not program.root:
        return [], ""
    counted = _counted(body)
    lines: list[str] = []
    if program.typed.cached and body.is_root:
        lines.append('past = 0 if cache is None else cache["past"]')
    for name, bound in program.typed.graph.max_dims.items():
        total = f"past + {counted}" if name == KEY_LENGTH else _length(body, name)
        if total:
            lines.append(f"if {total} > {bound.value}:")
            lines.append(f'    raise ValueError(f"{{{total}}} positions do not fit into {bound.value}")')
    return lines, counted


def _length(body: Body, name: str) -> str:
    """The text of a symbolic length, read off an argument of the method."""
    for port, found in body.declaration.unit.typed.inputs.items():
        if Ref(port) in body.names.names:
            for axis, size in enumerate(found.shape):
                if str(size) == name and not body.declaration.unit.typed.block.input(port).maybe:
                    return f"{body.names.names[Ref(port)]}.shape[{axis}]"
    return ""


def _counted(body: Body) -> str:
    """The length of what `positions` counts."""
    for typed in body.declaration.unit.typed.nodes:
        action = typed.node.action
        if getattr(action, "op", "") == "positions":
            ref = typed.node.inputs["x"]
            assert isinstance(ref, Ref)
            if ref in body.names.names:
                return f"{body.names.names[ref]}.shape[1]"
    return ""


def _readers(actions: tuple[Action, ...], outputs: Mapping[str, Ref]) -> dict[Ref, list[Action | None]]:
    readers: dict[Ref, list[Action | None]] = {}
    for action in actions:
        for ref in action_refs(action):
            readers.setdefault(ref, []).append(action)
    for ref in outputs.values():
        readers.setdefault(ref, []).append(None)
    return readers


def _single_outputs(actions: tuple[Action, ...], readers: dict[Ref, list[Action | None]]) -> set[str]:
    """Nodes of which one output is read: it goes by the node's name."""
    outputs: dict[str, set[str]] = {}
    for ref in readers:
        outputs.setdefault(ref.node, set()).add(ref.port)
    return {node for node, ports in outputs.items() if len(ports) == 1}


def _loop_head(loop: Loop) -> str:
    if loop.order is None:
        return f"for i, layer in enumerate(self.{loop.member}):" if loop.cached else f"for layer in self.{loop.member}:"
    return f"for layer in (self.{loop.member}[k] for k in {loop.order}):"


def _commented(line: str, comment: str) -> str:
    return f"{line}  # {comment}" if comment else line
