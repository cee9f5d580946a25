"""The few real functions that emitted text carries: each is copied into the files whose classes call it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def positions(x, mask, past):
    """The place of each token, int[B, T]: padding does not count, what the cache holds does."""
    batch, length = x.shape[:2]
    if mask is None:
        return torch.arange(past, past + length, device=x.device).expand(batch, length)
    return (mask.cumsum(1) - 1).clamp(min=0)[:, past:]


def visible_keys(mask, x, past, window=None):
    """The keys each query may see, bool[B or 1, 1, T, K]: none later, none padded, none out of the window."""
    keys = torch.arange(past + x.shape[1], device=x.device)
    queries = keys[past:, None]
    visible = keys <= queries
    if window is not None:
        visible = visible & (keys > queries - window)
    visible = visible[None, None]
    return visible if mask is None else visible & mask[:, None, None, :]


def causal_mask(mask, x, past, window=None):
    """visible_keys, or None where attention needs no mask for them."""
    length = x.shape[1]
    if window is not None and past + length <= window:
        window = None
    if length == 1 and window is None:
        return None if mask is None else mask[:, None, None, :]
    if mask is None and past == 0 and window is None:
        return None
    return visible_keys(mask, x, past, window)


def attention(q, k, v, mask=None, causal=False, scale=None, grouped=False, dropout=0.0):
    """softmax(q k^T * scale) v over [B, heads, T, head_dim]; a mask with `causal` holds that rule already."""
    if grouped and q.shape[2] == 1 and (mask is None or mask.shape[1] == 1):
        # one token: the heads of a group are queries of the same keys, each of which is read once
        shared = q.reshape(q.shape[0], k.shape[1], -1, q.shape[3])
        a = F.scaled_dot_product_attention(shared, k, v, attn_mask=mask, scale=scale, dropout_p=dropout)
        return a.reshape(*q.shape[:3], v.shape[3])
    if causal and mask is None and q.shape[2] > 1:
        return F.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scale, enable_gqa=grouped, dropout_p=dropout
        )
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, scale=scale, enable_gqa=grouped, dropout_p=dropout
    )


def biased_attention(q, k, v, bias, mask=None, causal=False, scale=None, grouped=False, dropout=0.0):
    """attention(...) with a bias [B or 1, heads or 1, T or 1, K] added to the scores before the softmax."""
    if causal and mask is None and q.shape[2] > 1:
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril(
            k.shape[2] - q.shape[2]
        )
    bias = bias.to(q.dtype)
    if mask is not None:
        bias = bias.masked_fill(~mask, float("-inf"))
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=bias, scale=scale, enable_gqa=grouped, dropout_p=dropout
    )


def masked_softmax(x, mask, axis, dtype=None):
    """softmax over what the mask keeps; where it keeps nothing, zeros."""
    if mask is None:
        return x.softmax(axis, dtype=dtype)
    kept = x.masked_fill(~mask, float("-inf"))
    return kept.softmax(axis, dtype=dtype).masked_fill(~mask, 0)


def append(cache, name, past, axis, *tensors):
    """All entries, the new ones written behind the `past` earlier ones; without a cache the new ones."""
    if cache is None:
        return tensors
    length = tensors[0].shape[axis]
    total = past + length
    kept = []
    for slot, new in zip(cache[name], tensors, strict=True):
        if total > slot.shape[axis]:
            raise ValueError(f"the cache holds {slot.shape[axis]} tokens, {total} are needed")
        slot.narrow(axis, past, length).copy_(new)
        kept.append(slot.narrow(axis, 0, total))
    return kept


def rotation(angle, dtype):
    """Cosines of angles [B, T, F], and sines as `rotate` adds them, stacked as [2, B, 1, T, 2 F]."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack((torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)))[:, :, None].to(dtype)


def rotate(x, turn):
    """Each pair (i, i + F) of x [B, heads, T, 2 F] rotated by its angle."""
    cos, sin = turn.unbind(0)
    return x * cos + x.roll(x.shape[-1] // 2, -1) * sin


def rotation_interleaved(angle, dtype):
    """Cosines of angles [B, T, F], and sines as `rotate` adds them, side by side, as [2, B, 1, T, 2 F]."""
    cos, sin = angle.cos(), angle.sin()
    pairs = torch.stack((torch.stack((cos, cos), -1), torch.stack((-sin, sin), -1)))
    return pairs.flatten(-2)[:, :, None].to(dtype)


def rotate_interleaved(x, turn):
    """Each pair (2 i, 2 i + 1) of x [B, heads, T, 2 F] rotated by its angle."""
    cos, sin = turn.unbind(0)
    return x * cos + x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2) * sin


def quick_gelu(x):
    """x sigmoid(1.702 x), the approximation of GELU that CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x)


def linear_cross_entropy(x, labels, weight, bias=None, ignore=None):
    """F.cross_entropy(F.linear(x, weight, bias), labels), 256 positions at a time: never all scores at once.

    The gradients are computed with the loss, and scaled when it is differentiated, which works once. Under
    autocast the scores are in the weight's type, not in the half one.
    """
    options = nn.LinearCrossEntropyOptions(
        batch_chunk_size=256, allow_retain_graph=torch.compiler.is_compiling()
    )
    x = x.flatten(0, -2).to(weight.dtype)
    return F.linear_cross_entropy(
        x, weight, labels.flatten(), linear_bias=bias, ignore_index=ignore, options=options
    )


class GroupedLinear(nn.Module):
    """A linear map per group: rows [R, I] sorted by group, `count` rows of each."""

    def __init__(self, groups, inside, outside, bias=False):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(groups, outside, inside))
        self.bias = nn.Parameter(torch.empty(groups, outside)) if bias else None

    def forward(self, x, count):
        ends = count.cumsum(0)
        half = x.dtype in (torch.bfloat16, torch.float16)
        if half or (x.dtype == torch.float32 and not torch.compiler.is_compiling()):
            y = F.grouped_mm(x, self.weight.transpose(1, 2), offs=ends.to(torch.int32))
        else:  # no kernel, or none that torch can trace: every group maps all rows, and keeps its own
            group = (torch.arange(x.shape[0], device=x.device)[:, None] >= ends).sum(1)
            y = x.new_zeros(x.shape[0], self.weight.shape[1])
            for i, weight in enumerate(self.weight):
                y = torch.where((group == i)[:, None], F.linear(x, weight), y)
        if self.bias is not None:
            y = y + self.bias.repeat_interleave(count, 0, output_size=x.shape[0])
        return y


class TiedLinear(nn.Module):
    """A linear map by the weight of another module."""

    def forward(self, x, weight):
        return F.linear(x, weight)


class LoraLinear(nn.Linear):
    """A linear map with a trained low-rank addition: W x + alpha / rank * B A x (Hu et al. 2021)."""

    def __init__(self, inside, outside, bias=True, rank=8, alpha=8.0, dropout=0.0):
        super().__init__(inside, outside, bias=bias)
        self.lora_a = nn.Parameter(torch.empty(rank, inside))
        self.lora_b = nn.Parameter(torch.empty(outside, rank))
        self.scale = alpha / rank
        self.dropout = dropout

    def forward(self, x):
        low = F.linear(F.dropout(x, self.dropout, self.training), self.lora_a)
        return F.linear(x, self.weight, self.bias) + F.linear(low, self.lora_b) * self.scale
