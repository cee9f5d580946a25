"""Runs a load plan on tensors: into a module on the meta device, and out of a module again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.weights.load_plan import FLOATS, Group, LoadPlan, Move
from compiler.weights.views import Strided

if TYPE_CHECKING:
    import torch

#: A tensor of the checkpoint by its key, best a view of the mapped file.
TensorOf = Callable[[str], "torch.Tensor"]


def load_plan(
    plan: LoadPlan, tensor_of: TensorOf, module: torch.nn.Module, dtype: torch.dtype | None = None
) -> None:
    """Give the module its tensors; floats in `dtype`, or as the checkpoint has them.

    A tensor that the file holds as it stands becomes the parameter without a copy. The others are made one group at a
    time: the peak is what they take together and the largest group. Raises CompileError where a second copy of a tied
    tensor differs from the first; the module is then unchanged.
    """
    _check_ties(plan, tensor_of)
    for group in plan.groups:
        if group.check:
            continue
        sources = {key: tensor_of(key) for key in dict.fromkeys(move.theirs for move in group.moves)}
        for name, moves in _by(group.moves, ours=True).items():
            _assign(module, name, _ours(plan, moves, sources, dtype))


def export_plan(plan: LoadPlan, module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The checkpoint's tensors under their keys, one at a time, each contiguous and in the module's dtype."""
    import torch

    state = module.state_dict(keep_vars=False)
    moves: dict[str, list[Move]] = {}
    for group in plan.groups:
        for key, several in _by(group.moves, ours=False).items():
            moves.setdefault(key, []).extend(several)
    for key, spec in plan.theirs.items():
        first = moves[key][0]
        if len(moves[key]) == 1 and first.piece.whole(spec.numel) and first.piece.theirs.offset == 0:
            yield key, state[first.ours].detach().contiguous().view(spec.shape)
            continue
        target = torch.empty(spec.shape, dtype=state[first.ours].dtype, device=state[first.ours].device)
        for move in moves[key]:
            source = state[move.ours].detach().contiguous()
            _view(target, move, move.piece.theirs).copy_(_view(source, move, move.piece.ours))
        yield key, target


def _ours(
    plan: LoadPlan, moves: Sequence[Move], sources: Mapping[str, torch.Tensor], dtype: torch.dtype | None
) -> torch.Tensor:
    """One tensor of ours: the file's own memory where it is whole there, else a fresh one."""
    import torch

    spec, first = plan.ours[moves[0].ours], moves[0]
    source = sources[first.theirs]
    kind = dtype if dtype is not None and spec.dtype == "float" else source.dtype
    if spec.dtype in FLOATS:
        kind = getattr(torch, spec.dtype)
    if len(moves) == 1 and first.piece.whole(spec.numel):
        whole = _view(source.contiguous(), first, first.piece.theirs).reshape(spec.shape)
        return whole.to(kind)
    target = torch.empty(spec.shape, dtype=kind, device=source.device)
    for move in moves:
        piece = _view(sources[move.theirs].contiguous(), move, move.piece.theirs)
        _view(target, move, move.piece.ours).copy_(piece)
    return target


def _view(tensor: torch.Tensor, move: Move, at: Strided) -> torch.Tensor:
    """A strided view of a contiguous tensor, which may itself begin anywhere in its storage."""
    return tensor.as_strided(move.piece.sizes, at.strides, tensor.storage_offset() + at.offset)


def _assign(module: torch.nn.Module, name: str, tensor: torch.Tensor) -> None:
    """Replace a parameter or buffer; requires_grad stays as it was."""
    import torch

    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    current = getattr(owner, leaf)
    if tuple(current.shape) != tuple(tensor.shape):
        raise AssertionError(f"{name}: the module has {tuple(current.shape)}, the plan {tuple(tensor.shape)}")
    if isinstance(current, torch.nn.Parameter):
        setattr(owner, leaf, torch.nn.Parameter(tensor, requires_grad=current.requires_grad))
    else:
        owner.register_buffer(leaf, tensor)


def _check_ties(plan: LoadPlan, tensor_of: TensorOf) -> None:
    """Second copies must equal the first, bit for bit: compared against the tensors that will be loaded."""
    diagnostics = Diagnostics()
    sources = {move.ours: (move, group) for group in plan.groups if not group.check for move in group.moves}
    for group in plan.groups:
        if not group.check:
            continue
        for move in group.moves:
            first, whole = sources[move.ours]
            if not _same(plan, move, group, first, whole, tensor_of):
                diagnostics.error(
                    "tie-broken",
                    f"`{move.theirs}` and `{first.theirs}` differ, but the model has one tensor for both: `{move.ours}`",
                    None,
                    help="load it with a spec that does not tie them",
                )
    diagnostics.check()


def _same(
    plan: LoadPlan, move: Move, copies: Group, first: Move, originals: Group, tensor_of: TensorOf
) -> bool:
    import torch

    if move.piece == first.piece:
        return torch.equal(tensor_of(move.theirs), tensor_of(first.theirs))
    both = [
        _ours(plan, [m for m in group.moves if m.ours == move.ours], _Lazy(tensor_of), None)
        for group in (copies, originals)
    ]
    return torch.equal(*both)


class _Lazy(dict[str, "torch.Tensor"]):
    """Tensors by key, fetched when asked for."""

    def __init__(self, tensor_of: TensorOf) -> None:
        super().__init__()
        self.tensor_of = tensor_of

    def __missing__(self, key: str) -> torch.Tensor:
        return self.tensor_of(key)


def _by(moves: Sequence[Move], *, ours: bool) -> dict[str, list[Move]]:
    found: dict[str, list[Move]] = {}
    for move in moves:
        found.setdefault(move.ours if ours else move.theirs, []).append(move)
    return found
