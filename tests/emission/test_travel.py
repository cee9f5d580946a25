"""Built modules are copied, pickled and saved like any other, within a process and into another one."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import compiler
from compiler.backend.build import TextModule, load_text, program_of
from compiler.backend.check import UnsafeText
from tests.emission.models import CASES, TRAINED, Case, built, tensors

ROOT = Path(__file__).parents[2]


def _saved(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "pickle": lambda m: pickle.loads(pickle.dumps(m)),  # noqa: S301
    "deepcopy": copy.deepcopy,
    "torch.save": _saved,
}


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", TRAINED, ids=lambda c: c.name)
def test_within_a_process(case: Case, way: str) -> None:
    model = built(case)
    other = WAYS[way](model)
    assert type(other) is type(model) and program_of(other) is program_of(model)
    inputs = case.inputs(2, 5, masked=True)
    expected, found = tensors(model(**inputs)), tensors(other(**inputs))
    assert all(torch.equal(found[n], t) for n, t in expected.items())
    next(iter(other.parameters())).add_(1)
    assert not torch.equal(next(iter(other.parameters())), next(iter(model.parameters())))


_ELSEWHERE = """
import pickle, sys
sys.path.insert(0, sys.argv[1])
import torch
with open(sys.argv[2], "rb") as file:
    model, inputs = pickle.load(file)
import inspect
from compiler.backend.build import program_of
assert inspect.getsource(type(model)).startswith("class ")
with torch.no_grad():
    output = model(**inputs)
keys = [p.name for p in program_of(model).table.parameters]
with open(sys.argv[3], "wb") as file:
    pickle.dump((output, keys, type(model).__module__), file)
"""


@torch.no_grad()
@pytest.mark.parametrize("name", ["llama_tied", "clip_vitb32"])
def test_into_another_process(name: str, tmp_path: Path) -> None:
    case = next(c for c in CASES if c.name == name)
    model = built(case)
    inputs = case.inputs(2, 5, masked=True)
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(pickle.dumps((model, inputs)))
    command = [sys.executable, "-I", "-c", _ELSEWHERE, str(ROOT), str(sent), str(back)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    output, keys, module = pickle.loads(back.read_bytes())  # noqa: S301
    assert keys == list(model.state_dict()) and module == type(model).__module__
    expected = tensors(model(**inputs))
    for key, tensor in tensors(output).items():
        torch.testing.assert_close(tensor, expected[key], rtol=0, atol=1e-6)


def test_a_text_in_a_pickle_is_checked() -> None:
    program = compiler.compile(CASES[0].source, set=CASES[0].set)
    sent = pickle.dumps(TextModule("bad", "import os\n", program))
    with pytest.raises(UnsafeText):
        pickle.loads(sent)  # noqa: S301


def test_equal_texts_are_one_module_unless_params_differ() -> None:
    case = next(c for c in CASES if c.name == "gpt2")
    program = compiler.compile(case.source, set=case.set)
    text = compiler.emit(case.source, set=case.set)
    assert load_text(text, program) is load_text(text, compiler.compile(case.source, set=case.set))
    wider = compiler.compile(case.source, set={**case.set, "dim": 48})
    assert load_text(text, wider) is not load_text(text, program)


def test_a_traceback_shows_the_text() -> None:
    model: Any = built(CASES[0])
    with pytest.raises(AttributeError) as caught:
        model("no tensor")
    shown = "".join(traceback.format_exception(caught.value))
    assert "total = past + tokens.shape[1]" in shown and type(model).__module__ in shown


def test_other_modules_are_not_ours() -> None:
    with pytest.raises(TypeError, match="Linear was not built by this compiler"):
        program_of(nn.Linear(2, 3))
