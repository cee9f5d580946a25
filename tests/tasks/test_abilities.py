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

#: What the task of a spec means; a classifier may give its vectors, too.
ABLE = {
    "automatic-speech-recognition": ["transcribe"],
    "feature-extraction": ["embed"],
    "fill-mask": ["fill-mask"],
    "image-classification": ["classify"],
    "image-feature-extraction": ["embed"],
    "image-segmentation": [],
    "lesson": [],
    "masked-reconstruction": ["reconstruct"],
    "text-classification": ["classify"],
    "text-generation": ["generate", "chat"],
    "text-to-text": ["generate", "translate"],
    "token-classification": ["classify"],
    "translation": ["generate", "translate"],
    "zero-shot-image-classification": ["embed", "zero-shot"],
}
ALSO_EMBED = {"convnext", "simple_vit", "vit", "vit_gap"}


@pytest.mark.parametrize("path", sorted((ROOT / "specs").glob("*.yaml")), ids=lambda p: p.stem)
def test_what_each_spec_can_do(path: Path) -> None:
    signature = signature_of(compiler.compile(path))
    able = {*ABLE[signature.task], *(["embed"] if path.stem in ALSO_EMBED else [])}
    assert set(abilities(signature)) == able
    for task in able:
        require(signature, task)
    for task in TASKS.keys() - able:
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
