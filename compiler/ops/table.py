"""Every op of the language, written out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from compiler.ir.opdef import OpDef
from compiler.ops import axes, images, linear, norms, order, pointwise, sequence, sources, training

_ALL: tuple[OpDef, ...] = (
    sources.PARAMETER,
    sources.IOTA,
    sources.POSITIONS,
    sources.EMBEDDING,
    linear.LINEAR,
    linear.LORA_LINEAR,
    linear.CONV,
    linear.EINSUM,
    norms.LAYER_NORM,
    norms.RMS_NORM,
    pointwise.MAP,
    pointwise.ACTIVATION,
    pointwise.ADD,
    pointwise.MUL,
    pointwise.SOFTMAX,
    pointwise.CAST,
    axes.REARRANGE,
    axes.EXPAND,
    axes.REDUCE,
    axes.CONCAT,
    axes.SLICE,
    sequence.ATTENTION,
    sequence.ATTENTION_MASK,
    sequence.ROTATE,
    sequence.ROTATION,
    sequence.CACHE,
    sequence.GATHER,
    sequence.DROPOUT,
    axes.SPLIT,
    order.ARGSORT,
    order.TOPK,
    order.RANDOM,
    order.GROUPED_LINEAR,
    images.CONV_TRANSPOSE,
    images.GROUP_NORM,
    images.INTERPOLATE,
    training.CROSS_ENTROPY,
    training.PAD,
)


def _table(ops: tuple[OpDef, ...]) -> Mapping[str, OpDef]:
    table = {op.name: op for op in ops}
    assert len(table) == len(ops), "two ops of one name"
    return MappingProxyType(table)


OPS: Mapping[str, OpDef] = _table(_ALL)
