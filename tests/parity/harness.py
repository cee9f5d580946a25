"""The one comparison: ours against an implementation that we did not write, in numbers and on disk.

Both are asked the same questions in double and in single precision, on weights that the other project saved
and we read. Then ours is written back, read again by both, and each kind of tensor is moved in turn to see
that the comparison notices.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import runtime

Tensors = Mapping[str, torch.Tensor]
Ask = Callable[[nn.Module], Tensors]
Compare = Callable[[Tensors], None]

#: Adds one number to all the scores of a query, which softmax does not see.
UNSEEN = re.compile(r"(.*\.)?attn(\.inner)?\.k\.bias")


@dataclass(frozen=True)
class Case:
    """A model of another project, and how it and ours are made and asked.

    make: the other project's model, its values yet to be drawn.
    save: write it as its project does. load: read that as ours.
    theirs, ours: the answers to the case's questions, at real positions only.
    reopen: read our export with the other project's code; None where the dialect is only read.
    same_file: the export is the very file that the other project wrote.
    lifted: takes casts to single precision out of the other project's code while doubles are compared.
    unseen: our tensors of which a small move changes no answer.
    """

    make: Callable[[], nn.Module]
    save: Callable[[nn.Module, Path], None]
    load: Callable[[Path], nn.Module]
    theirs: Ask
    ours: Ask
    dialect: str
    reopen: Callable[[Path], nn.Module] | None = None
    same_file: bool = False
    lifted: Callable[[], AbstractContextManager[None]] = nullcontext
    unseen: re.Pattern[str] = UNSEEN


def check(case: Case, folder: Path) -> None:
    """Everything that a case promises, for both precisions."""
    reference = randomised(case.make().eval().double())
    for dtype in (torch.float64, torch.float32):
        place = folder / str(dtype).removeprefix("torch.")
        place.mkdir()
        case.save(reference.to(dtype), place)
        model = case.load(place)
        assert {p.dtype for p in model.parameters()} == {dtype}
        with case.lifted() if dtype is torch.float64 else nullcontext():
            compare = comparison(answers(case.theirs, reference), dtype)
            compare(answers(case.ours, model))
            _check_way_back(case, model, reference, place, compare)
        check_control(case.ours, model, compare, dtype, case.unseen)


def answers(ask: Ask, model: nn.Module) -> Tensors:
    with torch.no_grad():
        return ask(model)


def comparison(theirs: Tensors, dtype: torch.dtype) -> Compare:
    """Holds answers to these: to 1e-10 in double precision, within torch's defaults in single precision."""
    return partial(_assert_equal, theirs=theirs, dtype=dtype)


def _assert_equal(ours: Tensors, theirs: Tensors, dtype: torch.dtype) -> None:
    assert ours.keys() == theirs.keys()
    rtol, atol = (0.0, 1e-10) if dtype is torch.float64 else (None, None)
    for name, tensor in ours.items():
        assert tensor.dtype is dtype and tensor.numel(), name
        torch.testing.assert_close(
            tensor, theirs[name], rtol=rtol, atol=atol, msg=partial("{}: {}".format, name)
        )


def randomised(model: nn.Module) -> nn.Module:
    """Values in every tensor, for fresh zeros and ones would hide a swap.

    The matrices shrink a little, or eleven layers of attention would average all tokens into one.
    """
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.7 * parameter[0].numel() ** -0.5, generator=draw)
            else:
                parameter.normal_(0.0 if name.endswith("bias") else 1.0, 0.2, generator=draw)
    return model


def _check_way_back(
    case: Case, model: nn.Module, reference: nn.Module, place: Path, compare: Compare
) -> None:
    """load -> export -> load changes no bit, and the other project reads the export as its own."""
    if case.reopen is None:
        return
    back = place / "back"
    runtime.export(model, back, to=case.dialect)
    if case.same_file:
        for file in sorted(back.glob("*.safetensors")):
            assert file.read_bytes() == (place / file.name).read_bytes(), file.name
    _assert_same_bits(model, case.load(back))
    reopened = case.reopen(back).eval()
    _assert_same_bits(reference, reopened)
    compare(answers(case.theirs, reopened))


def _assert_same_bits(a: nn.Module, b: nn.Module) -> None:
    ours, theirs = a.state_dict(), b.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype is theirs[name].dtype and torch.equal(tensor, theirs[name]), name


def check_control(
    ask: Ask, model: nn.Module, compare: Compare, dtype: torch.dtype, unseen: re.Pattern[str] = UNSEEN
) -> None:
    """One element of each kind of tensor, moved by 1e-3, must fail the comparison.

    Rounding in single precision hides the move of a weight that matters little; there, that of the one which
    matters most must fail. Where softmax does not see the move, it must not.
    """
    moves = _most_felt(ask, model)
    for name, at in moves if dtype is torch.float64 else moves[:1]:
        with torch.no_grad():
            parameter = model.get_parameter(name)  # a matrix may lie column by column
            element = parameter[tuple(map(int, torch.unravel_index(torch.tensor(at), parameter.shape)))]
            before = element.clone()
            element += 1e-3
            moved = answers(ask, model)
            element.copy_(before)
        if unseen.fullmatch(name):
            compare(moved)
        else:
            with pytest.raises(AssertionError):
                compare(moved)
    compare(answers(ask, model))


def _most_felt(ask: Ask, model: nn.Module) -> list[tuple[str, int]]:
    """The last tensor of each kind and the element that the answers feel most; the most felt kind first."""
    names = {re.sub(r"\d+", "N", name): name for name, _ in model.named_parameters()}.values()
    model.requires_grad_(True)  # of fixed tables too
    draw = torch.Generator().manual_seed(11)
    total = torch.zeros(())
    for answer in ask(model).values():
        total = total + (answer * torch.randn(answer.shape, dtype=answer.dtype, generator=draw)).sum()
    slopes = torch.autograd.grad(total, [model.get_parameter(name) for name in names])
    felt = dict(zip(names, (slope.abs().reshape(-1) for slope in slopes), strict=True))
    order = sorted(felt, key=lambda name: float(felt[name].max()), reverse=True)
    return [(name, int(felt[name].argmax())) for name in order]
