"""Which tasks each packaged spec can do is told from its signature alone, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import compiler
from compiler.diagnostics.diagnostic import CompileError
from runtime.tasks.abilities import TASKS, abilities, require
from runtime.tasks.signature import signature_of
from tests.contract.clone import ROOT

ABLE = {
    "albert": "embed",
    "albert_mlm": "fill-mask",
    "bart": "generate translate",
    "bert": "embed",
    "bert_classifier": "classify",
    "bert_mlm": "fill-mask",
    "bert_tagger": "classify",
    "char_gpt": "generate chat",
    "clip_vitb32": "embed zero-shot",
    "convnext": "embed classify",
    "deberta_v3": "embed",
    "deberta_v3_classifier": "classify",
    "dinov2": "embed",
    "dinov2_classifier": "classify",
    "dinov2_registers": "embed",
    "distilbert": "embed",
    "distilbert_mlm": "fill-mask",
    "gemma2": "generate chat",
    "gpt2": "generate chat",
    "gpt_neox": "generate chat",
    "liteclip": "embed zero-shot",
    "llama": "generate chat",
    "marian": "generate translate",
    "mistral": "generate chat",
    "mixtral": "generate chat",
    "mlm": "fill-mask",
    "qwen2": "generate chat",
    "qwen3": "generate chat",
    "roberta": "embed",
    "roberta_mlm": "fill-mask",
    "siglip": "embed zero-shot",
    "simple_mae": "reconstruct",
    "simple_vit": "embed classify",
    "starter_attention": "",
    "starter_cross_attention": "",
    "starter_einsum_attention": "",
    "starter_grouped_query": "",
    "starter_patchify": "",
    "starter_rotary": "",
    "t5": "generate translate",
    "transformer": "generate translate",
    "translation": "generate translate",
    "unetr": "",
    "vit": "embed classify",
    "vit_encoder": "embed",
    "vit_gap": "embed classify",
    "vit_mae": "reconstruct",
    "vit_mae_encoder": "embed",
    "whisper": "transcribe",
}


@pytest.mark.parametrize("path", sorted((ROOT / "specs").glob("*.yaml")), ids=lambda p: p.stem)
def test_what_each_spec_can_do(path: Path) -> None:
    signature = signature_of(compiler.compile(path))
    assert abilities(signature) == tuple(ABLE[path.stem].split())
    for task in TASKS:
        if task in ABLE[path.stem].split():
            require(signature, task)
            continue
        with pytest.raises(CompileError, match=f"`{task}` needs"):
            require(signature, task)


def test_a_users_spec_is_told_by_its_ports(tmp_path: Path) -> None:
    spec = tmp_path / "mine.yaml"
    spec.write_text("spec: mine\nextends: gpt2\nparams: {dim: 24, heads: 3, depth: 1}\n", encoding="utf-8")
    assert abilities(signature_of(compiler.compile(spec))) == ("generate", "chat")


def test_no_torch_is_needed() -> None:
    program = (
        "import sys, compiler\nfrom runtime.tasks.abilities import abilities\n"
        "from runtime.tasks.signature import signature_of\n"
        "print(abilities(signature_of(compiler.compile('gpt2'))), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "('generate', 'chat') False\n"
