"""Where low-rank additions stand in another project's layout.

A weight map relabels axes. A relabelling that keeps a weight's rows together takes rows of B with it,
one that keeps its columns takes columns of A; several weights in one tensor (a fused
q, k, v) become one addition of their joint rank, B block-diagonal. What a plan does to
rows and columns is read off by running it on tensors of numbered cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from compiler.diagnostics.diagnostic import fail
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.graph import Adapters
from compiler.ir.program import Program
from compiler.weights.library import Library
from compiler.weights.load_plan import LoadPlan, Move
from compiler.weights.plan import plan_export


@dataclass(frozen=True)
class Place:
    """A linear map of theirs and the maps of ours in it.

    rows: for each row of theirs, (member, row of ours), the member None where it is not adapted.
    columns: for each column of theirs, the column of ours.
    """

    module: str
    members: tuple[str, ...]
    rows: tuple[tuple[str, int], ...]
    columns: tuple[int, ...]
    transposed: bool

    def joined(self, parts: Mapping[str, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """One A [R, I] and B [O, R] from those of the members."""
        a = torch.cat([parts[m][0][:, list(self.columns)] for m in self.members])
        starts: dict[str, int] = {}
        for member in self.members:
            starts[member] = sum(parts[m][0].shape[0] for m in self.members[: len(starts)])
        b = a.new_zeros(len(self.rows), a.shape[0])
        for k, (member, row) in enumerate(self.rows):
            if member in starts:
                own = parts[member][1][row]
                b[k, starts[member] : starts[member] + len(own)] = own
        return a, b

    def parted(self, a: Tensor, b: Tensor, rank: int) -> dict[str, Tensor]:
        """The members' tensors: of a block-diagonal B each its own block,
        else its rows of B and the whole A.
        """
        back = torch.empty(len(self.columns), dtype=torch.long)
        back[list(self.columns)] = torch.arange(len(self.columns))
        out: dict[str, Tensor] = {}
        own: dict[str, Tensor] = {}
        for member in self.members:
            order = {row: k for k, (name, row) in enumerate(self.rows) if name == member}
            own[member] = b[[order[row] for row in range(len(order))]]
        blocks = {m: slice(i * rank, (i + 1) * rank) for i, m in enumerate(self.members)}
        apart = a.shape[0] == rank * len(self.members) and all(
            own[m].count_nonzero() == own[m][:, blocks[m]].count_nonzero() for m in self.members
        )
        for member, rows in own.items():
            block = blocks[member] if apart else slice(None)
            out[f"{member}.lora_a"], out[f"{member}.lora_b"] = a[block][:, back], rows[:, block]
        return out


@dataclass(frozen=True)
class Lifted:
    """The adapted maps in a dialect's layout, and the names of what is trained whole."""

    modules: tuple[Place, ...]
    names: Mapping[str, str]  # our tensor -> their key, for tensors that are theirs as they stand

    @property
    def transposed(self) -> bool:
        """Whether theirs hold [in, out], as GPT-2's do."""
        return any(m.transposed for m in self.modules)

    def whole_names(self, adapters: Adapters) -> dict[str, str]:
        """their key -> our tensor, for what `train` reaches."""
        return {k: n for n, k in self.names.items() if any(p.reaches(n) for p in adapters.train)}

    def whole(self, state: Mapping[str, Tensor], adapters: Adapters) -> dict[str, Tensor]:
        """The tensors that `train` reaches, under their keys."""
        return {key: state[name].contiguous() for key, name in self.whole_names(adapters).items()}

    def whole_modules(self, adapters: Adapters) -> set[str]:
        """The modules that hold those, by their names."""
        return {key.rpartition(".")[0] or key for key in self.whole_names(adapters)}


def lift(program: Program, dialect: str) -> Lifted:
    """Raises CompileError where a map's layout mixes rows and columns."""
    maps = Library.standard().candidates(program.table.spec, program.table.parents)
    chosen = next((m for m in maps if m.dialect == dialect), None)
    if chosen is None:
        cure = did_you_mean(dialect, [m.dialect for m in maps])
        raise fail("map-missing", f"the spec {program.name} has no dialect `{dialect}`", None, help=cure)
    plan = plan_export(chosen, program.table)
    adapted = {p.name.rpartition(".")[0] for p in program.table.parameters if p.adapter}
    by_key: dict[str, list[Move]] = {}
    for group in plan.groups:
        for move in group.moves:
            by_key.setdefault(move.theirs, []).append(move)
    places = [
        _place(key, moves, adapted, plan)
        for key, moves in by_key.items()
        if any(m.ours.removesuffix(".weight") in adapted and m.ours.endswith(".weight") for m in moves)
    ]
    names = {moves[0].ours: key for key, moves in by_key.items() if len(moves) == 1}
    return Lifted(tuple(places), names)


def _place(key: str, moves: list[Move], adapted: set[str], plan: LoadPlan) -> Place:
    """Run the moves of one tensor on numbered cells, and read rows and columns off the result."""
    shape = plan.theirs[key].shape
    inside = plan.ours[moves[0].ours].shape[-1]
    whole = torch.full(shape, -1, dtype=torch.long)
    for index, move in enumerate(moves):
        own = plan.ours[move.ours].shape
        cells = torch.arange(own[0] * own[1]).reshape(own) + (index << 40)
        target = whole.as_strided(move.piece.sizes, move.piece.theirs.strides, move.piece.theirs.offset)
        target.copy_(cells.as_strided(move.piece.sizes, move.piece.ours.strides, move.piece.ours.offset))
    if whole.dim() == 2:
        for transposed in (False, True):
            grid = whole.T if transposed else whole
            rows, columns = grid[:, :1] - grid[0, 0] % inside, (grid[:1] - grid[0, 0]) + grid[0, 0] % inside
            if bool((rows + columns == grid).all()) and bool((columns < inside).all()):
                return _numbered(key, moves, adapted, rows.flatten(), columns.flatten(), transposed)
    raise fail("cannot-export", f"`{key}` mixes rows and columns, so it can carry no low-rank addition", None)


def _numbered(
    key: str, moves: list[Move], adapted: set[str], rows: Tensor, columns: Tensor, transposed: bool
) -> Place:
    inside = len(columns)
    names = [m.ours.removesuffix(".weight") for m in moves]
    found = tuple((names[int(r) >> 40], (int(r) & ((1 << 40) - 1)) // inside) for r in rows)
    members = tuple(n for n in names if n in adapted)
    return Place(key.removesuffix(".weight"), members, found, tuple(map(int, columns)), transposed)
