"""The plan: which views of which tensors are copied where. It loads forwards and exports backwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from compiler.weights.views import Piece, Shape

FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
#: "the dtype the module is built in", as in the parameter table
MODULE_FLOAT = "float"


@dataclass(frozen=True)
class TensorSpec:
    """Shape and element type; the dtype of a tensor yet to be exported is that of ours."""

    shape: Shape
    dtype: str

    @property
    def numel(self) -> int:
        """The number of elements."""
        return prod(self.shape)


@dataclass(frozen=True)
class Move:
    """Equal-sized views of one tensor of ours and one of theirs.

    `theirs` is the key as the file spells it.
    """

    ours: str
    theirs: str
    piece: Piece


@dataclass(frozen=True)
class Group:
    """Moves that share tensors with no other group.

    A check compares: its tensors of theirs are second copies.
    """

    moves: tuple[Move, ...]
    check: bool = False


@dataclass(frozen=True)
class Cast:
    """A tensor whose float type changes on load."""

    ours: str
    source: str
    target: str


@dataclass(frozen=True)
class Dropped:
    """A tensor of theirs that is left out."""

    theirs: str
    reason: str


@dataclass(frozen=True)
class LoadPlan:
    """Everything that loading does, known before a tensor is read.

    dtype: what floats become; None leaves them as the file has them.
    ours: the module's tensors; theirs: the file's, by the keys as it spells them, so that wrappers, second
    copies and older spellings that were there are there again after an export. A plan made without a file
    names each tensor once.
    """

    map: str
    readonly: bool
    dtype: str | None
    groups: tuple[Group, ...]
    ours: Mapping[str, TensorSpec]
    theirs: Mapping[str, TensorSpec]
    casts: tuple[Cast, ...]
    dropped: tuple[Dropped, ...]

    def aliased(self) -> list[str]:
        """Our tensors that need no copy: they are the file's bytes as they stand."""
        recast = {cast.ours for cast in self.casts}
        return [
            move.ours
            for group in self.groups
            if not group.check
            for move in group.moves
            if move.ours not in recast and move.piece.gives_ours(self.ours[move.ours].numel)
        ]
