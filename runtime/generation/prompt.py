"""What a generation begins with: tokens, padding, and what an encoder reads, checked against the model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from compiler.diagnostics.diagnostic import fail
from runtime.generation.interface import Encoder, Interface


@dataclass(frozen=True)
class Prompt:
    """tokens int[B, T]; mask bool[B, T], None where nothing is padding; what an encoder reads."""

    tokens: Tensor
    mask: Tensor | None
    source: Tensor | None
    source_mask: Tensor | None


def prompt(
    interface: Interface,
    device: torch.device,
    tokens: Tensor | None,
    mask: Tensor | None,
    source: Tensor | None,
    source_mask: Tensor | None,
) -> Prompt:
    """Raises CompileError for what the model cannot take."""
    if interface.encoder is not None:
        source, source_mask = _source(interface, interface.encoder, source, source_mask)
    elif source is not None or source_mask is not None:
        raise _wrong(f"the spec {interface.spec} has no encoder, `source` is for those that have one")
    if tokens is None:
        tokens = _start(interface, source.shape[0] if source is not None else 1)
    _check_tokens(interface, tokens)
    if source is not None and source.shape[0] != tokens.shape[0]:
        raise _wrong(f"`tokens` has {tokens.shape[0]} rows, `source` has {source.shape[0]}")
    mask = _mask("mask", mask, tokens)
    if mask is not None:
        _check_padding(interface, mask)
    return Prompt(
        tokens.to(device, torch.int64),
        mask.to(device) if mask is not None else None,
        source.to(device) if source is not None else None,
        source_mask.to(device) if source_mask is not None else None,
    )


def check_length(interface: Interface, length: int, new: int) -> None:
    """The last token is never read, so the model looks at all but one. Raises CompileError."""
    context = interface.context
    if context is None or length + new - 1 <= context:
        return
    if length > context:
        raise _wrong(
            f"`tokens` has {length} tokens, the spec {interface.spec} looks at {context} at most",
            help="shorten the prompt, from the left",
        )
    raise _wrong(
        f"{length} tokens and {new} new ones are more than the spec {interface.spec} can look at: {context}",
        help=f"ask for `max_new_tokens` of {context - length + 1} at most, or shorten the prompt",
    )


def _start(interface: Interface, batch: int) -> Tensor:
    start = interface.io.get("start")
    if start is None:
        raise _wrong(f"the spec {interface.spec} has no start token: give `tokens`", help="or set `io.start`")
    return torch.tensor([start if isinstance(start, tuple) else (start,)]).expand(batch, -1)


def _check_tokens(interface: Interface, tokens: Tensor) -> None:
    if not isinstance(tokens, Tensor) or tokens.dtype not in (torch.int64, torch.int32) or tokens.dim() != 2:
        raise _wrong(f"`tokens` is int[B, T], not {_describe(tokens)}", help="one row per sequence")
    if tokens.numel() == 0:
        raise _wrong("`tokens` is empty", help="leave it out to begin with the start token")
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or (interface.vocab is not None and high >= interface.vocab):
        raise _wrong(
            f"`tokens` holds {low if low < 0 else high}, "
            f"the vocabulary of the spec {interface.spec} goes from 0 to {(interface.vocab or 0) - 1}"
        )


def _mask(name: str, mask: Tensor | None, tokens: Tensor) -> Tensor | None:
    """A mask as booleans; None where it hides nothing."""
    if mask is None:
        return None
    if not isinstance(mask, Tensor) or mask.shape != tokens.shape[:2]:
        shape = list(tokens.shape[:2])
        raise _wrong(f"`{name}` is bool{shape}, True where a token is real, not {_describe(mask)}")
    mask = mask.bool()
    return None if bool(mask.all()) else mask


def _check_padding(interface: Interface, mask: Tensor) -> None:
    if not interface.takes_mask:
        raise _wrong(f"the spec {interface.spec} takes no `mask`: rows of one call are equally long")
    if not bool(mask[:, -1].all()):
        row = int((~mask[:, -1]).nonzero()[0])
        raise _wrong(f"row {row} of `mask` ends with padding", help="pad prompts on the left")


def _source(
    interface: Interface, encoder: Encoder, source: Tensor | None, source_mask: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    wanted = encoder.source
    if source is None:
        raise _wrong(f"the spec {interface.spec} has an encoder, which reads `source`: {wanted}")
    fits = isinstance(source, Tensor) and source.dim() == wanted.rank and source.numel() > 0
    fits = fits and source.is_floating_point() == wanted.is_float
    for size, axis in zip(source.shape if fits else (), wanted.shape, strict=False):
        fits = fits and axis.constant in (None, size)
    if not fits:
        raise _wrong(f"`source` is {wanted}, not {_describe(source)}")
    if encoder.longest is not None and source.shape[1] > encoder.longest:
        raise _wrong(
            f"`source` has {source.shape[1]} tokens, the encoder of {interface.spec} reads {encoder.longest}"
        )
    source_mask = _mask("source_mask", source_mask, source)
    if source_mask is not None and not encoder.takes_mask:
        raise _wrong(f"the spec {interface.spec} takes no `source_mask`")
    return source, source_mask


def _describe(value: object) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"


def _wrong(message: str, help: str = "") -> Exception:
    return fail("usage", message, None, help=help)
