"""A model as tasks use it: the module, what it takes and gives, its tokenizer, files beside its weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from compiler.backend.build import program_of
from compiler.diagnostics.diagnostic import fail
from runtime.audio import LogMel, audio_transform
from runtime.files import companion
from runtime.images import ImageTransform, image_transform
from runtime.loading import load
from runtime.tasks.signature import Signature, signature_of
from runtime.text import Tokenizer, load_tokenizer

T = TypeVar("T")


@dataclass(frozen=True)
class Opened:
    """What every task begins from. `tokens_at`: where the tokenizer is, if not beside the weights."""

    model: nn.Module
    signature: Signature
    tokens_at: Path | None = None

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, loaded at its first use. Raises CompileError where there is none."""
        return load_tokenizer(self.model, self.tokens_at)

    @cached_property
    def images(self) -> ImageTransform:
        """How pictures become pixels. Raises CompileError where nothing says so."""
        return image_transform(self.model)

    @cached_property
    def sound(self) -> LogMel:
        """How sound becomes frames. Raises CompileError where nothing says so."""
        return audio_transform(self.model)

    def beside(self, name: str) -> Mapping[str, Any]:
        """A JSON file beside the weights, empty where there is none. Raises CompileError for another kind."""
        path = companion(self.model, name)
        if path is None:
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise fail("unreadable", f"{path} is not JSON: {error}", None) from None
        if not isinstance(found, dict):
            raise fail("unreadable", f"{path} is not a mapping", None)
        return found

    def _placed(self, x: torch.Tensor) -> torch.Tensor:
        """A tensor where the model stands, numbers of its type."""
        like = next((p for p in self.model.parameters() if p.is_floating_point()), x)
        return x.to(like.device, like.dtype if x.is_floating_point() else None)

    def call(self, inputs: Mapping[str, torch.Tensor], method: str = "forward") -> Mapping[str, torch.Tensor]:
        """The outputs by name, without gradients."""
        with torch.inference_mode():
            found = getattr(self.model, method)(**{n: self._placed(x) for n, x in inputs.items()})
        if isinstance(found, torch.Tensor):
            outputs = self.signature.outputs if method == "forward" else self.signature.methods[method]
            return {next(iter(outputs)): found}
        return {name: value for name, value in found._asdict().items() if value is not None}


def open_model(source: str | Path | nn.Module, *, tokenizer: str | Path | None = None) -> Opened:
    """A model for tasks.

    source: a module that `runtime.load` or `compiler.build` made, or what `runtime.load` takes.
    tokenizer: the file or folder that holds the tokens, where they are not beside the weights.
    Raises CompileError.
    """
    model = source if isinstance(source, nn.Module) else load(source)
    place = Path(tokenizer) if tokenizer is not None else None
    return Opened(model, signature_of(program_of(model)), place)


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in order, `size` at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))
