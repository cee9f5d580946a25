"""Small models of transformers with random weights, and the same ones loaded from what they save."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn

import runtime

hf.logging.set_verbosity_error()
hf.utils.logging.disable_progress_bar()

VOCAB, CONTEXT, FRAMES = 61, 48, 24
_LLAMA = dict(
    vocab_size=VOCAB,
    hidden_size=32,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=CONTEXT,
)
_BART = dict(
    vocab_size=VOCAB,
    d_model=24,
    encoder_layers=2,
    decoder_layers=3,
    encoder_attention_heads=2,
    decoder_attention_heads=3,
    encoder_ffn_dim=40,
    decoder_ffn_dim=44,
)
DECODERS: dict[str, Callable[[], nn.Module]] = {
    "gpt2": lambda: hf.GPT2LMHeadModel(
        hf.GPT2Config(
            vocab_size=VOCAB,
            n_positions=CONTEXT,
            n_embd=24,
            n_layer=2,
            n_head=3,
            bos_token_id=1,
            eos_token_id=2,
        )
    ),
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**_LLAMA)),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**_LLAMA, bos_token_id=1, eos_token_id=2)),
    "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**_LLAMA, sliding_window=5)),
    "gemma2": lambda: hf.Gemma2ForCausalLM(hf.Gemma2Config(**_LLAMA, sliding_window=5)),
    "gpt_neox": lambda: hf.GPTNeoXForCausalLM(
        hf.GPTNeoXConfig(
            vocab_size=VOCAB,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=40,
            max_position_embeddings=CONTEXT,
        )
    ),
}
SEQ2SEQ: dict[str, Callable[[], nn.Module]] = {
    "t5": lambda: hf.T5ForConditionalGeneration(
        hf.T5Config(
            vocab_size=VOCAB,
            d_model=24,
            d_kv=10,
            d_ff=40,
            num_layers=2,  # of its decoder, too: their cache is made for as many layers
            num_heads=3,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=20,
            decoder_start_token_id=0,
        )
    ),
    "bart": lambda: hf.BartForConditionalGeneration(hf.BartConfig(**_BART, max_position_embeddings=CONTEXT)),
    "marian": lambda: hf.MarianMTModel(
        hf.MarianConfig(
            **_BART,
            max_position_embeddings=CONTEXT,
            activation_function="silu",
            pad_token_id=60,
            decoder_start_token_id=60,
        )
    ),
    "whisper": lambda: hf.WhisperForConditionalGeneration(
        hf.WhisperConfig(
            **_BART,
            num_mel_bins=20,
            max_source_positions=FRAMES // 2,
            max_target_positions=CONTEXT,
            pad_token_id=60,
            bos_token_id=59,
            eos_token_id=59,
            decoder_start_token_id=58,
            begin_suppress_tokens=[1, 2],
        )
    ),
}
PEERS = {**DECODERS, **SEQ2SEQ}
#: In double precision its library's masks become infinite, and padded rows no numbers.
#: The others are compared in it, so that ties are no accident of rounding.
SINGLE = {"gemma2"}


@dataclass(frozen=True)
class Pair:
    """One model twice, and what it is asked.

    given, asked: their inputs and ours of one call.
    """

    name: str
    theirs: Any
    ours: nn.Module
    given: dict[str, Tensor]
    asked: dict[str, Any]

    def peer(self, new: int, **options: Any) -> Tensor:
        """Their generate. Whisper's own divides recordings; what is beneath it is compared."""
        options = {"do_sample": False, "max_new_tokens": new, **options}
        with torch.no_grad():
            return hf.GenerationMixin.generate(self.theirs, **self.given, **options)

    @property
    def start(self) -> int:
        """Where what is generated begins."""
        return self.asked["tokens"].shape[1] if "tokens" in self.asked else 1

    def own(self, new: int, **options: Any) -> Tensor:
        return runtime.generate(self.ours, **self.asked, max_new_tokens=new, **options)


#: Texts are no endless repetition of one token: random weights, tied, love that.
VARIED = {"no_repeat_ngram_size": 2}


def pair(name: str, seed: int, folder: Path, settings: dict[str, Any]) -> Pair:
    """A model of that family, weights and inputs by the seed; prompts and sources of several lengths.

    settings: of its generation_config.
    """
    batch = 3
    with _seeded(seed):
        theirs: Any = PEERS[name]().eval()
        _randomise(theirs)
        if name not in SINGLE:
            theirs.double()
        theirs.generation_config.update(**settings)
        theirs.save_pretrained(folder)
        ours = runtime.load(folder)
        if name == "whisper":
            features = torch.randn(batch, 20, FRAMES, dtype=torch.float64)
            return Pair(name, theirs, ours, {"input_features": features}, {"source": features})
        ids = torch.randint(3, VOCAB - 1, (batch, 9))
        mask = torch.ones_like(ids, dtype=torch.bool)
        mask[: batch - 1, :2] = mask[0, :5] = False
    if name in SEQ2SEQ:
        mask = mask.flip(1)
        asked = {"source": ids, "source_mask": mask}
    else:
        asked = {"tokens": ids, "mask": mask}
    return Pair(name, theirs, ours, {"input_ids": ids, "attention_mask": mask.long()}, asked)


def _randomise(model: nn.Module) -> None:
    """Weights by which what a token was counts little for what follows; fixed sinusoids stay."""
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.dim() == 1:
            parameter.data.add_(0.3 * torch.randn_like(parameter))
        else:
            is_table = parameter.shape[0] in (VOCAB, CONTEXT) or "embed" in name
            parameter.data.normal_(std=0.15 if is_table else 0.6)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
