"""Low-rank adapters against PEFT: ours open there, theirs open here, merged is unmerged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel

import compiler
import runtime
from compiler import CompileError
from compiler.weights.config import recognise

BERT = ("bert_mlm", '["h.*.attn.q", "h.*.attn.v", transform]', "transform_ln")
GPT2 = ("gpt2", '["h.*.attn.q", "h.*.attn.v", "h.*.mlp.up"]', "ln_f")


def _reference(parent: str) -> PreTrainedModel:
    torch.manual_seed(0)
    if parent == "gpt2":
        sizes = dict(
            vocab_size=53, n_positions=20, n_embd=24, n_layer=2, n_head=3, bos_token_id=1, eos_token_id=1
        )
        return GPT2LMHeadModel(GPT2Config(**sizes)).eval()
    return BertForMaskedLM(
        BertConfig(
            vocab_size=53,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=40,
            max_position_embeddings=20,
        )
    ).eval()


def _adapted(case: tuple[str, str, str], tmp_path: Path, rank: int = 4) -> nn.Module:
    """A base checkpoint in an adapted spec of the user's own."""
    parent, at, train = case
    _reference(parent).save_pretrained(tmp_path / "base")
    spec = tmp_path / "mine.yaml"
    adapters = f"{{at: {at}, rank: {rank}, alpha: {2 * rank}, dropout: 0.1, train: [{train}]}}"
    spec.write_text(f"spec: mine\nextends: {parent}\nadapters: {adapters}\n")
    return runtime.load(spec, weights=tmp_path / "base", set=dict(recognise(tmp_path / "base").set))


def _trained(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def _tokens() -> Tensor:
    return torch.randint(0, 53, (3, 11))


@pytest.mark.parametrize("case", [BERT, GPT2], ids=lambda c: c[0])
def test_a_fresh_adapter_changes_nothing(case: tuple[str, str, str], tmp_path: Path) -> None:
    model = _adapted(case, tmp_path)
    plain = runtime.load(tmp_path / "base")
    tokens = _tokens()
    assert torch.equal(model(tokens), plain(tokens))


@pytest.mark.parametrize("case", [BERT, GPT2], ids=lambda c: c[0])
def test_peft_opens_what_we_write(case: tuple[str, str, str], tmp_path: Path) -> None:
    """For GPT-2 q and v lie in one tensor of theirs: one addition of rank 8, B block-diagonal."""
    model = _trained(_adapted(case, tmp_path))
    runtime.save_adapter(model, tmp_path / "adapter")
    peft = PeftModel.from_pretrained(
        _reference(case[0]).from_pretrained(tmp_path / "base"), tmp_path / "adapter"
    )
    tokens = _tokens()
    with torch.no_grad():
        model, peft = model.double(), peft.double().eval()
        found, expected = model(tokens), peft(tokens).logits
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
        next(p for n, p in model.named_parameters() if n.endswith("lora_b")).view(-1)[0] += 1e-3
        assert (model(tokens) - expected).abs().max() > 1e-10


@pytest.mark.parametrize("case", [BERT, GPT2], ids=lambda c: c[0])
def test_our_adapter_comes_back(case: tuple[str, str, str], tmp_path: Path) -> None:
    model = _trained(_adapted(case, tmp_path))
    runtime.save_adapter(model, tmp_path / "adapter")
    again = runtime.load_adapter(_adapted(case, tmp_path), tmp_path / "adapter")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_we_open_what_peft_writes(tmp_path: Path) -> None:
    """A shared A for the fused q, k and v: each of ours has all of A and its own rows of B."""
    case = ("gpt2", '["h.*.attn.q", "h.*.attn.k", "h.*.attn.v"]', "")
    model = _adapted(case, tmp_path)
    base = GPT2LMHeadModel.from_pretrained(tmp_path / "base")
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["c_attn"], fan_in_fan_out=True)
    peft = get_peft_model(base, config).eval()
    with torch.no_grad():
        for name, parameter in peft.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    peft.save_pretrained(str(tmp_path / "theirs"))
    runtime.load_adapter(model, tmp_path / "theirs")
    tokens = _tokens()
    with torch.no_grad():
        found, expected = model.double()(tokens), peft.double()(tokens).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("case", [BERT, GPT2], ids=lambda c: c[0])
def test_merged_is_unmerged(case: tuple[str, str, str], tmp_path: Path) -> None:
    model = _trained(_adapted(case, tmp_path)).double()
    tokens = _tokens()
    merged = runtime.merge(model)
    assert not any("lora" in n for n, _ in merged.named_parameters())
    with torch.no_grad():
        torch.testing.assert_close(merged(tokens), model(tokens), rtol=0, atol=1e-12)


def test_only_the_named_is_trained(tmp_path: Path) -> None:
    model = _adapted(BERT, tmp_path)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {n for n, _ in model.named_parameters() if "lora_" in n or n.startswith("transform_ln")}
    assert sum(p.numel() for n, p in model.named_parameters() if "lora_" in n) == 5 * 2 * 4 * 24


def test_faults_are_located(tmp_path: Path) -> None:
    spec = tmp_path / "mine.yaml"
    spec.write_text("spec: mine\nextends: gpt2\nadapters: {at: [h.*.attn.qq], rank: 0, alpha: 8}\n")
    with pytest.raises(CompileError, match=r"mine\.yaml:3:37"):
        compiler.compile(spec)
    spec.write_text("spec: mine\nextends: gpt2\nadapters: {at: [h.*.attn.qq], rank: 4, alpha: 8}\n")
    with pytest.raises(CompileError, match=r"`h\.\*\.attn\.qq` reaches no linear map"):
        compiler.compile(spec)


def test_another_scale_is_refused(tmp_path: Path) -> None:
    model = _trained(_adapted(BERT, tmp_path))
    runtime.save_adapter(model, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "lora_alpha": 32}))
    with pytest.raises(CompileError, match="scales"):
        runtime.load_adapter(model, tmp_path / "adapter")


@pytest.mark.parametrize(
    ("sizes", "rank", "trained"), [("{}", 4, 148_994), ("{dim: 1024, depth: 24, heads: 16}", 8, 788_482)]
)
def test_deberta_trains_exactly_what_the_original_did(
    sizes: str, rank: int, trained: int, tmp_path: Path
) -> None:
    spec = tmp_path / "mine.yaml"
    at = f'{{at: ["h.*.attn.q", "h.*.attn.v"], rank: {rank}, alpha: {2 * rank}, train: [head]}}'
    spec.write_text(f"spec: mine\nextends: deberta_v3_classifier\nparams: {sizes}\nadapters: {at}\n")
    model = compiler.build(spec, device="meta")
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trained


def test_a_path_that_trains_nothing_is_named(tmp_path: Path) -> None:
    spec = tmp_path / "mine.yaml"
    spec.write_text(
        "spec: mine\nextends: gpt2\nadapters: {at: [h.*.attn.q], rank: 4, alpha: 8, train: [ln_x]}\n"
    )
    with pytest.raises(CompileError, match=r"mine\.yaml:3:\d+(.|\n)*did you mean `ln_f`"):
        compiler.compile(spec)
