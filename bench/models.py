"""The models that are measured: transformers' with random weights, and ours read from the same files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

SMOLLM2: dict[str, Any] = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0}, "tie_word_embeddings": True,
}  # fmt: skip


def theirs(name: str, dtype: torch.dtype) -> Any:
    """A causal language model of transformers, with its default attention (sdpa)."""
    torch.manual_seed(0)
    if name == "gpt2":
        model: Any = transformers.GPT2LMHeadModel(transformers.GPT2Config())
    else:
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMOLLM2))
    return model.to(dtype).eval()


@contextmanager
def saved(model: Any) -> Iterator[Path]:
    """A checkpoint folder of a model of transformers."""
    with TemporaryDirectory() as place:
        model.save_pretrained(place)
        yield Path(place)
