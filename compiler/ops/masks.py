"""Padding masks, and sizes that must agree."""

from __future__ import annotations

from compiler.ir.dims import Dim, Proof, dim, symbol
from compiler.ir.opdef import OpFault
from compiler.ir.types import TensorType


def need(condition: bool, message: str, port: str) -> None:
    """Raises OpFault unless the condition holds."""
    if not condition:
        raise OpFault("shape-mismatch", message, port=port)


def need_equal(a: Dim, b: Dim, message: str, port: str) -> None:
    """Raises OpFault unless two sizes are proved equal."""
    proof = a.compare(b)
    if proof is not Proof.PROVED:
        raise OpFault("shape-mismatch" if proof is Proof.REFUTED else "shape-unknown", message, port=port)


def need_mask(mask: TensorType, batch: Dim, keys: Dim) -> None:
    """A padding mask is bool[B, K]: true where a key is real. K needs no proof: its cache may come later."""
    need(mask.rank == 2 and mask.dtype == "bool", f"`mask` is bool[B, K], found {mask}", "mask")
    need_equal(mask.shape[0], batch, f"the mask is of {mask.shape[0]} sequences, there are {batch}", "mask")
    if mask.shape[1] != symbol("K"):
        need_equal(mask.shape[1], keys, f"the mask covers {mask.shape[1]} keys, there are {keys}", "mask")


def need_keeps(mask: TensorType, x: TensorType) -> None:
    """A mask of the entries of a tensor: bool, and each axis that of the tensor or 1."""
    need(
        mask.rank == x.rank and mask.dtype == "bool",
        f"`mask` is bool with the axes of {x.axes()}, found {mask}",
        "mask",
    )
    need_fits(mask, x.shape, "mask")


def need_fits(found: TensorType, scores: tuple[Dim, ...], port: str) -> None:
    """Each axis is that of the scores, or 1."""
    for size, wanted in zip(found.shape, scores, strict=True):
        if size != dim(1):
            need_equal(size, wanted, f"the scores have {wanted} where {found.axes()} has {size}", port)
