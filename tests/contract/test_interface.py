"""The names that stay put, and what importing them costs."""

from __future__ import annotations

import inspect
import json
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import compiler
import runtime

GENERATE = (
    "model, tokens=None, *, source=None, source_mask=None, mask=None, max_new_tokens, temperature=0.0, "
    "top_k=None, top_p=None, min_p=None, repetition_penalty=1.0, num_beams=1, length_penalty=1.0, "
    "eos='model', pad='model', seed=None"
)

#: Parameters and result, as scripts and notebooks rely on them.
SIGNATURES: dict[Callable[..., Any], tuple[str, str]] = {
    compiler.compile: ("source, *, set=None, optimize=()", "Program"),
    compiler.emit: ("source, *, set=None, style='views', optimize=()", "str"),
    compiler.build: ("source, *, set=None, optimize=(), device=None, dtype=None", "nn.Module"),
    runtime.load: (
        "source, *, weights='default', dialect=None, weightmap=None, set=None, optimize=(), layout=None, "
        "dtype=None, device=None",
        "nn.Module",
    ),
    runtime.generate: (GENERATE, "Tensor"),
    runtime.stream: (GENERATE, "Iterator[Tensor]"),
    runtime.load_tokenizer: ("source, path=None", "Tokenizer"),
    runtime.stream_text: (
        "model, prompt, *, tokenizer=None, special=True, max_new_tokens, temperature=0.0, top_k=None, "
        "top_p=None, min_p=None, repetition_penalty=1.0, eos='model', seed=None",
        "Iterator[str]",
    ),
    runtime.export: ("model, folder, *, to='hf', force=False", "tuple[Path, ...]"),
}

#: What a front half that answers at once cannot afford to import.
HEAVY = ["PIL", "einops", "gguf", "jinja2", "networkx", "numpy", "safetensors", "sympy"]
HEAVY += ["tokenizers", "torch", "torchvision", "transformers"]

FRONT = """
import sys, json, compiler, compiler.pipeline
from compiler.cli.main import main
compiler.compile("gpt2"), compiler.compile("clip_vitb32"), compiler.compile("llama:3.1-405b")
import compiler.weights.plan, compiler.weights.config, compiler.weights.readers, runtime
codes = [main(a.split()) for a in ("list", "show gpt2", "check gpt2 bert", "schema")]
print(json.dumps([codes, sorted(set(sys.modules) & set(sys.argv[1:]))]))
"""


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_signatures(function: Callable[..., Any]) -> None:
    found = inspect.signature(function)
    bare = inspect.Signature([p.replace(annotation=p.empty) for p in found.parameters.values()])
    assert (str(bare)[1:-1], found.return_annotation) == SIGNATURES[function]


def test_names() -> None:
    assert set(compiler.__all__) == {"CompileError", "__version__", "build", "compile", "emit"}
    assert {"export", "generate", "load", "stream"} <= set(runtime.__all__)
    assert all(hasattr(module, name) for module in (compiler, runtime) for name in module.__all__)


def test_no_module_hides_a_name() -> None:
    """A module that is imported becomes an attribute of its package: it must not have a function's name."""
    modules = {module.name for module in pkgutil.iter_modules(runtime.__path__)}
    assert modules & set(runtime.__all__) == set()


def test_the_front_half_imports_nothing_heavy() -> None:
    command = [sys.executable, "-c", FRONT, *HEAVY]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [[0, 0, 0, 0], []]


def test_running_a_model_imports_neither_text_nor_pictures() -> None:
    code = (
        "import sys, torch, runtime, runtime.audio\n"
        "model = runtime.load('gpt2', weights=None, set={'dim': 24, 'heads': 3, 'depth': 1, 'vocab': 50})\n"
        "runtime.generate(model, torch.tensor([[1, 2]]), max_new_tokens=2, eos=None)\n"
        "print(sorted({'PIL', 'huggingface_hub', 'tokenizers', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_what_is_heavy_would_be_seen() -> None:
    command = [sys.executable, "-c", "import torch\n" + FRONT, *HEAVY]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "torch" in json.loads(done.stdout.splitlines()[-1])[1]
