"""Runs a load plan on tensors: into a module on the meta device, and out of a module again."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod

import torch

from compiler.diagnostics.diagnostic import Diagnostics, fail
from compiler.ir.parameters import Join
from compiler.weights.load_plan import FLOATS, MODULE_FLOAT, LoadPlan, Move, TensorSpec
from compiler.weights.views import Strided
from runtime.joined import spec_state, stacked

#: A tensor of the checkpoint by its key, best a view of the mapped file.
TensorOf = Callable[[str], torch.Tensor]


def load_plan(
    plan: LoadPlan,
    tensor_of: TensorOf,
    module: torch.nn.Module,
    *,
    joins: Sequence[Join] = (),
    strided: Container[str] = (),
) -> None:
    """Give the module its tensors.

    joins: tensors of the module that hold several of the plan's. strided: matrices that stay as the file has
    them, column by column perhaps, in float32: there a product is as fast on either.

    A tensor that the file holds as it stands becomes the parameter without a copy. The others are made a
    group at a time in each of torch's threads, for much of the work is the first touch of fresh memory: the
    peak is what they take together and a group per thread. Raises CompileError where a second copy of a tied
    tensor differs from the first; the module is then unchanged.
    """
    _check_ties(plan, tensor_of)
    joined = {part: join for join in joins for part in join.parts}

    def made(moves: Sequence[Move]) -> dict[str, torch.Tensor]:
        sources = _sources(moves, tensor_of)
        parts = {name: _made(plan, own, sources) for name, own in _by_ours(moves).items()}
        whole = {
            join.name: stacked([parts[p] for p in join.parts])
            for join in {joined[p] for p in parts if p in joined}
        }
        whole |= {name: tensor for name, tensor in parts.items() if name not in joined}
        return {
            name: t if name in strided and t.dtype is torch.float32 else t.contiguous()
            for name, t in whole.items()
        }

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        for tensors in threads.map(made, _together(plan, joined)):
            for name, tensor in tensors.items():
                _assign(module, name, tensor)


def _together(plan: LoadPlan, joined: Mapping[str, Join]) -> list[list[Move]]:
    """The moves of each group, those of groups that feed one joined tensor as one."""
    units: dict[int, list[Move]] = {}
    home: dict[str, int] = {}
    for index, group in enumerate(plan.groups):
        if group.check:
            continue
        wanted = {joined[move.ours].name for move in group.moves if move.ours in joined}
        earlier = sorted({home[name] for name in wanted if name in home})
        units[index] = [move for unit in earlier for move in units.pop(unit)] + list(group.moves)
        home = {name: index if unit in earlier else unit for name, unit in home.items()}
        home |= dict.fromkeys(wanted, index)
    return list(units.values())


def export_plan(plan: LoadPlan, module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The checkpoint's tensors under their keys, one at a time, each contiguous and in the module's dtype.

    Raises CompileError, before the first tensor, for a dialect that is only read and for members of one
    tensor that differ in type.
    """
    if plan.readonly:
        raise fail("cannot-export", f"the map {plan.map} is read, never written", None)
    state = spec_state(module)
    moves: dict[str, list[Move]] = {key: [] for key in plan.theirs}
    for group in plan.groups:
        for move in group.moves:
            moves[move.theirs].append(move)
    diagnostics = Diagnostics()
    for key, several in moves.items():
        kinds = {str(state[move.ours].dtype) for move in several}
        if len(kinds) > 1:
            diagnostics.error(
                "cannot-export", f"`{key}` would be made of {' and '.join(sorted(kinds))}", None
            )
    diagnostics.check()
    return ((key, _theirs(spec, moves[key], state)) for key, spec in plan.theirs.items())


def _made(plan: LoadPlan, moves: Sequence[Move], sources: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """One tensor of ours: a view of the file's own memory where it is whole there, else a fresh one."""
    spec, first = plan.ours[moves[0].ours], moves[0]
    source = sources[first.theirs]
    name = plan.dtype if spec.dtype == MODULE_FLOAT else spec.dtype
    kind = getattr(torch, name) if name in FLOATS else source.dtype
    if len(moves) == 1 and source.dtype is kind:
        found = _whole_view(source, first, spec)
        if found is not None:
            return found
    target = torch.empty(spec.shape, dtype=kind)
    for move in moves:
        _view(target, move, move.piece.ours).copy_(_view(sources[move.theirs], move, move.piece.theirs))
    return target


def _whole_view(source: torch.Tensor, move: Move, spec: TensorSpec) -> torch.Tensor | None:
    """Our tensor as a view of theirs, if one piece is all of ours and its axes can be merged in place."""
    if prod(move.piece.sizes) != spec.numel:
        return None
    order = sorted(range(len(move.piece.sizes)), key=lambda k: -move.piece.ours.strides[k])
    try:
        return _view(source, move, move.piece.theirs).permute(order).view(spec.shape)
    except RuntimeError:  # torch's own judgement of what strides can say
        return None


def _theirs(spec: TensorSpec, moves: Sequence[Move], state: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """One tensor of theirs: the module's own memory where it is whole there, else a fresh one."""
    first = moves[0]
    source = state[first.ours].contiguous()
    if len(moves) == 1 and first.piece.gives_theirs(spec.numel):
        return _view(source, first, first.piece.ours).reshape(spec.shape)
    target = torch.empty(spec.shape, dtype=source.dtype, device=source.device)
    for move in moves:
        source = state[move.ours].contiguous()
        _view(target, move, move.piece.theirs).copy_(_view(source, move, move.piece.ours))
    return target


def _view(tensor: torch.Tensor, move: Move, at: Strided) -> torch.Tensor:
    """A strided view of a contiguous tensor, which may itself begin anywhere in its storage."""
    return tensor.as_strided(move.piece.sizes, at.strides, tensor.storage_offset() + at.offset)


def _assign(module: torch.nn.Module, name: str, tensor: torch.Tensor) -> None:
    """Replace a parameter or buffer; requires_grad stays as it was."""
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    current = getattr(owner, leaf)
    assert current.shape == tensor.shape, f"{name}: the module has {current.shape}, the plan {tensor.shape}"
    if isinstance(current, torch.nn.Parameter):
        setattr(owner, leaf, torch.nn.Parameter(tensor, requires_grad=current.requires_grad))
    else:
        owner.register_buffer(leaf, tensor)


def _check_ties(plan: LoadPlan, tensor_of: TensorOf) -> None:
    """Second copies must equal the first, bit for bit."""
    diagnostics = Diagnostics()
    originals: dict[str, list[Move]] = {}
    for group in plan.groups:
        for move in group.moves if not group.check else ():
            originals.setdefault(move.ours, []).append(move)
    for group in plan.groups:
        for name, copies in _by_ours(group.moves).items() if group.check else ():
            if not _equal(plan, copies, originals[name], tensor_of):
                diagnostics.error(
                    "tie-broken",
                    f"`{copies[0].theirs}` and `{originals[name][0].theirs}` differ, but `{name}` is both",
                    None,
                    help="load it with a spec that has two tensors for them",
                )
    diagnostics.check()


def _equal(plan: LoadPlan, copies: list[Move], originals: list[Move], tensor_of: TensorOf) -> bool:
    """Compared in the file where both lie alike there, else as they would be loaded."""
    twins = [(c, o) for c in copies for o in originals if c.piece == o.piece]
    if len(twins) == len(copies):
        pairs = [(tensor_of(copy.theirs), tensor_of(original.theirs)) for copy, original in twins]
    else:
        pairs = [
            (
                _made(plan, copies, _sources(copies, tensor_of)),
                _made(plan, originals, _sources(originals, tensor_of)),
            )
        ]
    return all(a.dtype == b.dtype and a.equal(b) for a, b in pairs)


def _sources(moves: Sequence[Move], tensor_of: TensorOf) -> dict[str, torch.Tensor]:
    return {key: tensor_of(key).contiguous() for key in dict.fromkeys(move.theirs for move in moves)}


def _by_ours(moves: Sequence[Move]) -> dict[str, list[Move]]:
    found: dict[str, list[Move]] = {}
    for move in moves:
        found.setdefault(move.ours, []).append(move)
    return found
