"""The body of a method: steps as lines, single-reader steps inside their readers, shapes as comments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from compiler.backend.expressions import Names, Pending, Printer, axes_comment
from compiler.backend.lengths import NO_LENGTHS, Lengths
from compiler.backend.lines import WIDTH, commented
from compiler.backend.readers import find_readers, single_outputs, with_neighbours
from compiler.ir.actions import targets
from compiler.ir.code import Lit, literals
from compiler.ir.graph import Ref
from compiler.ir.program import Action, ClassDecl, Default, Loop, Once, Step
from compiler.passes.methods import needed


@dataclass(frozen=True)
class Body:
    """What a method computes: its actions, the texts of each action's literals, and what it returns.

    cut: where `last` keeps the last position only. output_class: what wraps several outputs, "" for a tuple.
    early: what is returned alone, before anything that it does not need, where it is not None.
    """

    declaration: ClassDecl
    actions: tuple[Action, ...]
    holes: tuple[list[str], ...]
    outputs: Mapping[str, Ref]
    cut: Ref | None = None
    output_class: str = ""
    maybe: frozenset[str] = frozenset()  # outputs that may be None
    early: Ref | None = None

    @property
    def wanted(self) -> set[Ref]:
        """All that may be returned."""
        return {*self.outputs.values(), *([] if self.early is None else [self.early])}


def action_literals(action: Action) -> list[Lit]:
    """The literals of an action in text order."""
    match action:
        case Step(code=text):
            return literals(text)
        case Loop(arguments=arguments):
            return [x for a in arguments if a is not None for x in literals(a)]
        case Default():
            return []
        case Once(actions=inner):
            return [x for a in inner for x in action_literals(a)]


def write_body(body: Body, names: Names, lengths: Lengths = NO_LENGTHS) -> list[str]:
    """The lines of a body. lengths: the checks that stand at its beginning, in it and before its return.

    A step with one reader moves into it. Where that makes a text too long, all operands in it get lines of
    their own, each in its place: what belongs together looks alike, in the order of the spec.
    """
    body = _live(body)
    apart: frozenset[Ref] = frozenset()
    while True:
        writer = _BodyWriter(body, names.copy(), apart, lengths)
        lines = writer.write()
        if not writer.crowded:
            return lines
        apart |= with_neighbours(writer.crowded, body.actions)


def _live(body: Body) -> Body:
    """The body without what only other methods, or nobody, reads."""
    kept = {id(a) for a in needed(body.actions, body.wanted, frozenset())}
    pairs = [(a, h) for a, h in zip(body.actions, body.holes, strict=True) if id(a) in kept]
    return replace(body, actions=tuple(a for a, _ in pairs), holes=tuple(h for _, h in pairs))


class _BodyWriter:
    """One attempt: `apart` are the steps that keep a line of their own, `crowded` those that should."""

    def __init__(self, body: Body, names: Names, apart: frozenset[Ref], lengths: Lengths) -> None:
        self.body = body
        self.lengths = lengths
        self.names = names
        self.apart = apart
        self.crowded: set[Ref] = set()
        self.lines = list(lengths.opening)
        self.printer = Printer(body.declaration.unit.typed, names)
        self.readers = find_readers(body.actions, body.outputs)
        if body.early is not None:
            self.readers.setdefault(body.early, []).extend((None, None))  # tested, and returned
        self.single = single_outputs(self.readers)

    def write(self) -> list[str]:
        pairs = list(zip(self.body.actions, self.body.holes, strict=True))
        if self.body.early is not None:
            first = {id(a) for a in needed(self.body.actions, {self.body.early}, frozenset())}
            self._write([pair for pair in pairs if id(pair[0]) in first])
            pairs = [pair for pair in pairs if id(pair[0]) not in first]
            name = self.printer.value(self.body.early)
            self.lines += [*self.lengths.closing, f"if {name} is not None:", f"    return {name}"]
            self._write(pairs)
        else:
            self._write(pairs)
            self.lines += self.lengths.closing
        self._return()
        return self.lines

    def _write(self, pairs: list[tuple[Action, list[str]]]) -> None:
        for action, holes in pairs:
            self._action(action, holes)

    def _action(self, action: Action, holes: list[str]) -> None:
        match action:
            case Step():
                self._step(action, holes)
                self._keep_last(action.targets[0])
            case Loop():
                self._loop(action, holes)
                self._keep_last(action.target)
            case Default():
                self._default(action)
            case Once():
                self._once(action, holes)

    # -- lines ----------------------------------------------------------------------------------------------

    def _line(self, code: str, comment: str, operands: tuple[Ref, ...], indent: str = "") -> None:
        """A line, and the operands that now stand in it."""
        taken = self._taken(operands)
        line = commented(indent + code, comment)
        self.lines.append(line)
        self._measure(line, taken)

    def _taken(self, operands: tuple[Ref, ...]) -> list[Ref]:
        """The operands that now stand in a text, but for those that a line of their own would not shorten."""
        texts = {r: self.printer.pending.pop(r).text for r in operands if r in self.printer.pending}
        return [r for r, text in texts.items() if text != f"self.{r.node}"]

    def _measure(self, line: str, operands: list[Ref]) -> None:
        """Only the first line too long counts: to part its operands may cure those after it."""
        if len(line) > WIDTH - 8 and not self.crowded:
            self.crowded.update(operands)

    def _step(self, step: Step, holes: list[str]) -> None:
        read = [t for t in step.targets if t in self.readers]
        if not read:
            return
        text = self.printer.render(step.code, holes)
        comment = self._comment(read[0])
        if self._moves(step):
            (target,) = step.targets
            taken = self._taken(step.code.refs())
            head = "return" if self.readers[target] == [None] else f"{target.node} ="
            self._measure(commented(f"{head} {text}", comment), taken)
            self.printer.pending[target] = Pending(text, step.code.binds)
            return
        names = [self._name(t) if t in self.readers else "_" for t in step.targets]
        if not step.guard:
            self._line(f"{', '.join(names)} = {text}", comment, step.code.refs())
            return
        tests = " and ".join(f"{self.printer.value(g)} is not None" for g in step.guard)
        other = "None" if step.fallback is None else self.printer.value(step.fallback)
        if len(names) == 1:
            self._line(f"{names[0]} = {text} if {tests} else {other}", comment, step.code.refs())
            return
        self.lines += [f"{' = '.join(names)} = None", f"if {tests}:"]
        self._line(f"{', '.join(names)} = {text}", comment, step.code.refs(), "    ")

    def _moves(self, step: Step) -> bool:
        """Whether the step stands inside its reader: one reader, which runs whenever the step would."""
        target = step.targets[0]
        readers = self.readers[target]
        if (
            len(step.targets) > 1
            or not step.inline
            or step.guard
            or target == self.body.cut
            or target in self.apart
        ):
            return False
        if len(readers) != 1:
            return False
        match readers[0]:
            case None | Default():
                return True
            case Loop(start=start):
                return start == target
            case Step(guard=guard, code=text):
                return not guard and target in text.refs()
            case _:
                return False

    def _loop(self, loop: Loop, holes: list[str]) -> None:
        start = self.printer.value(loop.start)
        name = self._name(loop.target)
        self._line(f"{name} = {start}", self._comment(loop.target), (loop.start,))
        texts = iter(holes)
        arguments: list[str] = []
        for argument in loop.arguments:
            if argument is None:
                arguments.append(name)
            else:
                text = self.printer.render(argument, [next(texts) for _ in literals(argument)])
                arguments.append(f"{text}[i]" if loop.cached and text.endswith('"]') else text)
        every = f"every_{name}"
        if loop.taps:
            self.lines.append(f"{every} = []")
        self.lines.append(_loop_head(loop))
        self.lines.append(f"    {name} = layer({', '.join(arguments)})")
        if loop.taps:
            self.lines.append(f"    {every}.append({name})")
        for tap in loop.taps:
            self.lines.append(f"{self.names.add(tap, f'{tap.node}_{tap.port}')} = {every}[{tap.port}]")

    def _once(self, once: Once, holes: list[str]) -> None:
        """The steps under `if`, what they gave kept in the cache, and read from it in the other branch."""
        outside, self.lines = self.lines, []
        texts = iter(holes)
        for action in once.actions:
            self._action(action, [next(texts) for _ in action_literals(action)])
        names = [self._name(t) for t in once.targets]
        slot = f'cache["{once.name}"]'
        inside = [*self.lines, "if cache is not None:", f"    {slot} = [{', '.join(names)}]"]
        self.lines = [
            *outside,
            f"if cache is None or {slot} is None:",
            *(f"    {line}" for line in inside),
            "else:",
            f"    {', '.join(names)} = {slot}",
        ]

    def _default(self, default: Default) -> None:
        target = self.names.names[Ref(default.name)]
        value = self.printer.value(default.value)
        self.lines.append(f"if {target} is None:")
        self._line(f"{target} = {value}", self._comment(default.value), (default.value,), "    ")
        needs = next(
            (a.guard for a in self.body.actions if default.value in targets(a) and isinstance(a, Step)), ()
        )
        if needs:
            names = " or ".join([target, *(self.printer.value(ref) for ref in needs)])
            self.lines += [f"if {target} is None:", f'    raise ValueError("give {names}")']
        self.lines += self.lengths.given.get(default.name, [])

    def _keep_last(self, target: Ref) -> None:
        if target == self.body.cut:
            name = self.names.names[target]
            self.lines += ["if last:", f"    {name} = {name}[:, -1:]"]

    def _return(self) -> None:
        self._return_alone()
        refs = self.body.outputs
        texts = {name: self.printer.value(ref) for name, ref in refs.items()}
        if len(refs) == 1:
            ((_, text),) = texts.items()
            (ref,) = refs.values()
            self._line(f"return {text}", self._comment(ref), (ref,))
            return
        named = ", ".join(f"{n}={t}" for n, t in texts.items())
        whole = f"{self.body.output_class}({named})" if self.body.output_class else ", ".join(texts.values())
        self._line(f"return {whole}", "", tuple(refs.values()))

    def _return_alone(self) -> None:
        """The one output that is always there, returned bare when no other is."""
        always = [r for n, r in self.body.outputs.items() if n not in self.body.maybe]
        if not self.body.output_class or len(always) != 1 or len(self.body.outputs) == 1:
            return
        rest = [self.printer.value(r) for n, r in self.body.outputs.items() if n in self.body.maybe]
        self.lines.append(f"if {' and '.join(f'{t} is None' for t in rest)}:")
        self.lines.append(f"    return {self.printer.value(always[0])}")

    # -- words ----------------------------------------------------------------------------------------------

    def _name(self, ref: Ref) -> str:
        if ref in self.names.names:
            return self.names.names[ref]
        return self.names.add(ref, ref.node if ref.node in self.single else f"{ref.node}_{ref.port}")

    def _comment(self, ref: Ref) -> str:
        return axes_comment([(u.typed, u.typed.type_of(ref).shape) for u in self.body.declaration.units])


def _loop_head(loop: Loop) -> str:
    if loop.order is None:
        return (
            f"for i, layer in enumerate(self.{loop.member}):"
            if loop.cached or loop.is_counted
            else f"for layer in self.{loop.member}:"
        )
    layers = f"self.{loop.member}[k] for k in {list(loop.order)}"
    return f"for i, layer in enumerate({layers}):" if loop.is_counted else f"for layer in ({layers}):"
