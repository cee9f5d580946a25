"""Layouts on shapes: axis sizes are solved, then each piece becomes two strided views of the same sizes.

Copying `ours <- theirs` loads, `theirs <- ours` exports: the inverse needs no second table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from compiler.weights.layout import Atom, Axis, Dim, Layout, Stack, Star, Sum, atoms

Shape = tuple[int, ...]


class AxesError(Exception):
    """Sizes that are undetermined or inconsistent; the message names the axis."""


@dataclass(frozen=True)
class Strided:
    """A view of a contiguous tensor, in elements."""

    offset: int
    strides: Shape


@dataclass(frozen=True)
class Piece:
    """One instruction without names: equal-sized views of our tensor and of theirs."""

    sizes: Shape
    ours: Strided
    theirs: Strided

    def gives_ours(self, numel: int) -> bool:
        """Whether a run of theirs is, element after element, our whole tensor."""
        return self._runs and self.ours.offset == 0 and prod(self.sizes) == numel

    def gives_theirs(self, numel: int) -> bool:
        """Whether a run of ours is, element after element, their whole tensor."""
        return self._runs and self.theirs.offset == 0 and prod(self.sizes) == numel

    @property
    def _runs(self) -> bool:
        return all(view.strides in ((), (1,)) for view in (self.ours, self.theirs))


@dataclass(frozen=True)
class Slot:
    """Which piece of the whole a tensor is: its member, and its position along each stack axis."""

    member: int
    stack: Mapping[str, int]


def solve(
    layout: Layout,
    ours: Sequence[Shape],
    theirs: Sequence[Shape] | None,
    stacks: Mapping[str, int],
    let: Mapping[str, int],
) -> dict[str, int]:
    """Axis name -> size, from one shape per member of the side that has members (one for the other side).

    theirs None: the sizes must follow from our shapes alone, as in an export. Raises AxesError.
    """
    known: dict[str, int] = {str(n): n for n in _integers(layout)}
    known.update((axis, size) for axis, size in let.items())
    equations = _equations(layout.ours, layout.theirs_sum, ours, "our")
    if theirs is not None:
        equations += _equations(layout.theirs, layout.ours_sum, theirs, "their")
    pending = equations
    while pending:
        left = [equation for equation in pending if not _step(equation, known, stacks)]
        if len(left) == len(pending):
            break
        pending = left
    for axis in _names(layout):
        if axis not in known:
            raise AxesError(f"the size of axis `{axis}` does not follow from the shapes; give it under `let`")
    return known


def shapes(
    side: tuple[Dim, ...],
    sums: tuple[str, ...],
    count: int,
    sizes: Mapping[str, int],
    stacks: Mapping[str, int],
) -> list[Shape]:
    """The shape of each of `count` members of a side (`sums`: the sizes that a `*` takes)."""
    return [
        tuple(prod(_size(atom, sums, m, sizes, stacks) for atom in dim) for dim in side) for m in range(count)
    ]


def piece(layout: Layout, slot: Slot, sizes: Mapping[str, int], stacks: Mapping[str, int]) -> Piece:
    """The views of one member at one place of the stack."""
    sums = layout.ours_sum or layout.theirs_sum
    ours = _axes(layout.ours, sums, slot, sizes, stacks)
    theirs = _axes(layout.theirs, sums, slot, sizes, stacks)
    order = [name for name in ours.strides if name in theirs.strides]
    extents = [ours.sizes[name] for name in order]
    return _merge(
        extents,
        ours.offset,
        [ours.strides[name] for name in order],
        theirs.offset,
        [theirs.strides[name] for name in order],
    )


@lru_cache(maxsize=1024)
def identity(shape: Shape) -> Piece:
    """Both tensors as they stand."""
    numel = prod(shape)
    sizes, strides = ((numel,), (1,)) if numel != 1 else ((), ())
    return Piece(sizes, Strided(0, strides), Strided(0, strides))


@dataclass(frozen=True)
class _Equation:
    """size = product of atoms, of the axis at `dim` of a tensor with this shape."""

    size: int
    atoms: Dim
    star: str
    shape: Shape
    whose: str


@dataclass(frozen=True)
class _Axes:
    offset: int
    strides: Mapping[str, int]
    sizes: Mapping[str, int]


def _equations(
    side: tuple[Dim, ...], sums: tuple[str, ...], members: Sequence[Shape], whose: str
) -> list[_Equation]:
    found: list[_Equation] = []
    for member, shape in enumerate(members):
        if len(shape) != len(side):
            raise AxesError(
                f"the layout has {len(side)} {whose} axes, the tensor {_show(shape)} has {len(shape)}"
            )
        star = sums[member] if sums else ""
        found += [_Equation(size, dim, star, shape, whose) for size, dim in zip(shape, side, strict=True)]
    return found


def _step(equation: _Equation, known: dict[str, int], stacks: Mapping[str, int]) -> bool:
    """Solve an equation that has one unknown, or check one that has none; False while it has more."""
    factor = 1
    unknown: Atom | None = None
    for atom in equation.atoms:
        size = _known(atom, equation.star, known, stacks)
        if size is not None:
            factor *= size
        elif unknown is None:
            unknown = atom
        else:
            return False
    if unknown is None:
        if factor != equation.size:
            raise AxesError(f"{_label(equation.atoms)} is {factor}, but {_at(equation)}")
        return True
    rest, remainder = divmod(equation.size, factor) if factor else (0, 1)
    if remainder:
        raise AxesError(
            f"{_label(equation.atoms)}: {equation.size} is not a multiple of {factor}; {_at(equation)}"
        )
    return _assign(unknown, rest, equation, known)


def _assign(unknown: Atom, size: int, equation: _Equation, known: dict[str, int]) -> bool:
    if isinstance(unknown, Axis):
        known[unknown.name] = size
        return True
    if isinstance(unknown, Star):
        known[equation.star] = size
        return True
    assert isinstance(unknown, Sum), "a stack axis always has a size"
    missing = [name for name in unknown.sizes if name not in known]
    if len(set(missing)) > 1:
        return False
    rest, remainder = divmod(size - sum(known.get(name, 0) for name in unknown.sizes), len(missing))
    if remainder or rest < 0:
        raise AxesError(f"{_label((unknown,))} cannot make {size}; {_at(equation)}")
    known[missing[0]] = rest
    return True


def _known(atom: Atom, star: str, known: Mapping[str, int], stacks: Mapping[str, int]) -> int | None:
    match atom:
        case Axis(name=name):
            return known.get(name)
        case Star():
            return known.get(star)
        case Stack(index=index):
            return stacks[index]
        case Sum(sizes=names):
            return sum(known[name] for name in names) if all(name in known for name in names) else None


def _size(
    atom: Atom, sums: tuple[str, ...], member: int, sizes: Mapping[str, int], stacks: Mapping[str, int]
) -> int:
    size = _known(atom, sums[member] if sums else "", sizes, stacks)
    assert size is not None
    return size


def _axes(
    side: tuple[Dim, ...],
    sums: tuple[str, ...],
    slot: Slot,
    sizes: Mapping[str, int],
    stacks: Mapping[str, int],
) -> _Axes:
    """Strides of the atoms of a contiguous tensor, narrowed to one member and one place of the stack."""
    offset, stride = 0, 1
    strides: dict[str, int] = {}
    extents: dict[str, int] = {}
    for atom in reversed(atoms(side)):
        if isinstance(atom, Axis) and atom.name != "1":
            strides[atom.name], extents[atom.name] = stride, sizes[atom.name]
        elif isinstance(atom, Stack):
            offset += slot.stack[atom.index] * stride
        elif isinstance(atom, Sum):
            offset += sum(sizes[name] for name in atom.sizes[: slot.member]) * stride
            strides["*"], extents["*"] = stride, sizes[atom.sizes[slot.member]]
        elif isinstance(atom, Star):
            strides["*"], extents["*"] = stride, sizes[sums[slot.member]]
        stride *= _size(atom, sums, slot.member, sizes, stacks)
    return _Axes(offset, dict(reversed(strides.items())), extents)


def _merge(
    sizes: list[int], offset: int, strides: list[int], their_offset: int, their_strides: list[int]
) -> Piece:
    """Drop axes of size 1 and join neighbours that are contiguous in both tensors."""
    merged: list[list[int]] = []
    for size, ours, theirs in zip(sizes, strides, their_strides, strict=True):
        if size == 1:
            continue
        last = merged[-1] if merged else None
        if last and last[1] == ours * size and last[2] == theirs * size:
            merged[-1] = [last[0] * size, ours, theirs]
        else:
            merged.append([size, ours, theirs])
    columns = [tuple(column) for column in zip(*merged, strict=True)] or [(), (), ()]
    return Piece(columns[0], Strided(offset, columns[1]), Strided(their_offset, columns[2]))


def _integers(layout: Layout) -> set[int]:
    return {int(name) for name in _names(layout) if name.isdigit()}


def _names(layout: Layout) -> list[str]:
    """Every name that needs a size."""
    named = [
        atom.name for side in (layout.theirs, layout.ours) for atom in atoms(side) if isinstance(atom, Axis)
    ]
    return list(dict.fromkeys([*named, *layout.ours_sum, *layout.theirs_sum]))


def _label(dim: Dim) -> str:
    words: list[str] = []
    for atom in dim:
        match atom:
            case Axis(name=name):
                words.append(name)
            case Star():
                words.append("*")
            case Stack(index=index):
                words.append("{" + index + "}")
            case Sum(sizes=sizes):
                words.append("[" + "|".join(sizes) + "]")
    text = " ".join(words)
    return f"axis `{text}`" if len(words) == 1 else f"axis `({text})`"


def _at(equation: _Equation) -> str:
    return f"{equation.whose} tensor is {_show(equation.shape)}"


def _show(shape: Shape) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
