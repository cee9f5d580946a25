"""The text of every op, written out; a contract test holds it against the table of ops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from compiler.ops.text import axes, basic, more, sequence
from compiler.ops.text.context import Context, Text
from compiler.ops.text.expression import map_text

TEXTS: Mapping[str, Callable[[Context], Text]] = MappingProxyType(
    {
        "parameter": basic.parameter,
        "iota": basic.iota,
        "positions": basic.positions,
        "embedding": basic.embedding,
        "linear": basic.linear,
        "lora_linear": basic.lora_linear,
        "conv": basic.conv,
        "einsum": axes.einsum,
        "layer_norm": basic.layer_norm,
        "rms_norm": basic.rms_norm,
        "map": map_text,
        "activation": basic.activation,
        "add": basic.add,
        "mul": basic.mul,
        "softmax": basic.softmax,
        "cast": basic.cast,
        "rearrange": axes.rearrange,
        "expand": axes.expand,
        "reduce": axes.reduce,
        "concat": axes.concat,
        "slice": axes.slice_,
        "attention": sequence.attention,
        "attention_mask": sequence.attention_mask,
        "rotate": sequence.rotate,
        "rotation": sequence.rotation,
        "cache": sequence.cache,
        "gather": axes.gather,
        "dropout": basic.dropout,
        "split": more.split,
        "argsort": more.argsort,
        "topk": more.topk,
        "random": more.random,
        "grouped_linear": more.grouped_linear,
        "conv_transpose": more.conv_transpose,
        "group_norm": more.group_norm,
        "interpolate": more.interpolate,
        "cross_entropy": more.cross_entropy,
        "pad": more.pad,
    }
)
