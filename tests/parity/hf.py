"""What is common to the models of the transformers library: saving, opening, casts taken out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

os.environ.setdefault("USE_TF", "0")
import transformers
from transformers.loss import loss_utils
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm, Gemma2TextScaledWordEmbedding
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.mistral.modeling_mistral import MistralRMSNorm
from transformers.models.mixtral.modeling_mixtral import MixtralRMSNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm
from transformers.models.t5.modeling_t5 import T5LayerNorm

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def maker(kind: Any, config: Any, attention: str = "sdpa") -> Callable[[], nn.Module]:
    """A model of a config, with the library's attention of that name."""
    return lambda: kind._from_config(config, attn_implementation=attention, experts_implementation="eager")


def save(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)


def opener(kind: Any, attention: str = "sdpa") -> Callable[[Path], nn.Module]:
    """Opens a folder, in the precision of its weights; every key must find its place."""

    def reopen(folder: Path) -> nn.Module:
        model, found = kind.from_pretrained(
            folder,
            output_loading_info=True,
            dtype="auto",
            attn_implementation=attention,
            experts_implementation="eager",
        )
        assert not any(found.values()), found
        for module in model.modules():
            if isinstance(module, Gemma2TextScaledWordEmbedding):
                # A built model holds the scale in single precision, one opened from doubles the exact one.
                module.embed_scale.copy_(torch.tensor(module.scalar_embed_scale, dtype=torch.float32))
        return model

    return reopen


@contextmanager
def without_casts() -> Iterator[None]:
    """The library in the precision it is given: RMSNorm, the eager softmax and the loss cast inside."""

    def norm(self: Any, x: torch.Tensor) -> torch.Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

    def norm_from_one(self: Gemma2RMSNorm, x: torch.Tensor) -> torch.Tensor:
        return (1 + self.weight) * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))

    def loss(logits: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        with pytest.MonkeyPatch.context() as inside:
            inside.setattr(torch.Tensor, "float", lambda x: x)
            return whole_loss(logits, *rest, **named)

    softmax, whole_loss = F.softmax, loss_utils.ForCausalLMLoss
    with pytest.MonkeyPatch.context() as patch:
        for kind in (LlamaRMSNorm, MistralRMSNorm, MixtralRMSNorm, Qwen2RMSNorm, Qwen3RMSNorm, T5LayerNorm):
            patch.setattr(kind, "forward", norm)
        patch.setattr(Gemma2RMSNorm, "forward", norm_from_one)
        patch.setitem(loss_utils.LOSS_MAPPING, "ForCausalLM", loss)
        patch.setattr(F, "softmax", lambda x, dim, dtype=None: softmax(x, dim))
        yield
