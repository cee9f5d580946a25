"""One key of a config turned, and whether ours then does what transformers does.

The keys are all that the config class writes, that the library's model code reads, and that our map names.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import runtime
from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.config_table import ConfigTable
from compiler.weights.library import Library
from tests.parity import hf
from tests.parity.harness import Tensors, randomised

Ask = Callable[[Any], Tensors]
Config = dict[str, Any]

#: They say where a file came from and which code reads it.
SPARED = re.compile(r"(.*\.)?(architectures|model_type|transformers_version|dtype|torch_dtype|auto_map|_\w+)")
ACTS = ("gelu", "gelu_new", "gelu_fast", "quick_gelu", "relu", "silu", "tanh", "mish")


class Absent:
    """The value of a key that is taken out."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absent()


@dataclass(frozen=True)
class Subject:
    """A model of the transformers library at small sizes, and the questions that it and ours are asked.

    lifted: takes casts to single precision out of the library's code.
    """

    kind: Any
    config: Any
    theirs: Ask
    ours: Ask
    map: str
    attention: str = "sdpa"
    lifted: Callable[[], AbstractContextManager[None]] = hf.without_casts

    def base(self) -> Config:
        """The config written in full, what is left to the class's defaults too."""
        return {**json.loads(json.dumps(self.config.to_dict())), "architectures": [self.kind.__name__]}

    def table(self) -> ConfigTable:
        table = Library.standard().load(self.map).config
        assert table is not None
        return table


def flips(subject: Subject) -> Iterator[tuple[str, Any]]:
    """Each key with each of a few other values, but what every map ignores as settings of the library."""
    config, ignored = subject.base(), subject.table().ignore
    common = Library.standard().load("bert.hf").config
    assert common is not None
    everywhere = {str(path) for path, why in ignored.items() if common.ignore.get(path) == why}
    known = {str(path) for path in subject.table().paths() if not str(path).endswith((".", ":"))}
    for path in sorted({*_paths(config), *known, *_read_by_code(subject)} - everywhere):
        if not SPARED.fullmatch(path):
            value = _get(config, path)
            yield from ((path, other) for other in _others(value) if repr(other) != repr(value))


def fault(subject: Subject, path: str, value: Any, folder: Path) -> str:
    """How ours, told the same, differs from theirs; nothing where theirs cannot be told, or ours says no.

    Raises what ours raises, unless it is a fault of the user's or an input that the model refuses.
    """
    folder.mkdir()
    config = _turned(subject.base(), path, value)
    try:
        theirs = _theirs(subject, config, folder)
    except Exception:  # noqa: BLE001 - whatever the library says to a value that it does not know
        return ""
    try:
        model = runtime.load(folder, dtype=torch.float64)
        ours = _answers(subject, subject.ours, model)
    except (CompileError, ValueError, RuntimeError):
        return ""
    if unlike := _unlike(ours, theirs):
        return unlike
    if path in {str(key) for key in subject.table().ignore}:
        return ""
    runtime.export(model, folder / "back")
    again = hf.opener(subject.kind, subject.attention)(folder / "back").eval().double()
    unlike = _unlike(_answers(subject, subject.theirs, again), theirs)
    return unlike and f"after the export, {unlike}"


def _turned(config: Config, path: str, value: Any) -> Config:
    """The config with that key set or taken out."""
    *outer, last = path.split(".")
    place = config
    for step in outer:
        if not isinstance(place.get(step), dict):
            place[step] = {}
        place = place[step]
    if value is ABSENT:
        place.pop(last, None)
    else:
        place[last] = value
    return config


def _theirs(subject: Subject, config: Config, folder: Path) -> Tensors:
    """The answers of the library's model of a config, whose folder is written."""
    (folder / "config.json").write_text(json.dumps(config))
    read = subject.kind.config_class.from_pretrained(folder)
    model: Any = hf.maker(subject.kind, read, subject.attention)().eval()
    fixed = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    randomised(model).load_state_dict(fixed, strict=False)
    model.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    return _answers(subject, subject.theirs, model.double())


def _answers(subject: Subject, ask: Ask, model: Any) -> Tensors:
    with torch.no_grad(), subject.lifted():
        return ask(model)


def _unlike(ours: Tensors, theirs: Tensors) -> str:
    """How answers differ; where theirs are no numbers, ours may be anything."""
    for name, tensor in theirs.items():
        if ours[name].shape != tensor.shape:
            return f"{name}: {tuple(ours[name].shape)} for {tuple(tensor.shape)}"
        far = (ours[name] - tensor)[tensor.isfinite()].abs()
        if not bool((far < 1e-8).all()):
            return f"{name}: {float(far.max()):.2e} apart"
    return ""


def _paths(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        if isinstance(value, dict) and not key.endswith(("id2label", "label2id")):
            yield from _paths(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def _read_by_code(subject: Subject) -> Iterator[str]:
    """What the model's file reads from its config, some of which its config class does not declare."""
    text = inspect.getsource(inspect.getmodule(subject.kind))  # type: ignore[arg-type]
    names = {*re.findall(r"\bconfig\.([a-z]\w+)\b(?!\()", text)}
    names |= {*re.findall(r"getattr\((?:self\.)?config, \"(\w+)\"", text)}
    nested = [key for key, value in subject.base().items() if key.endswith("_config") and value]
    for name in names - {"get_text_config", *nested}:
        yield from (f"{outer}.{name}" for outer in nested) if nested else (name,)


def _get(config: Config, path: str) -> Any:
    place: Any = config
    for step in path.split("."):
        if not isinstance(place, dict) or step not in place:
            return ABSENT
        place = place[step]
    return place


def _others(value: Any) -> list[Any]:
    """Other values of the same kind, no value, and silence."""
    if value is ABSENT or value is None:
        return [True, 3, "x", ABSENT]
    if isinstance(value, bool):
        return [not value, None, ABSENT]
    if isinstance(value, int):
        return [value + 1, 2 * value, 0, None, ABSENT]
    if isinstance(value, float):
        return [2 * value + 0.125, 0.0, None, ABSENT]
    if isinstance(value, str):
        return [*(ACTS if value in ACTS else ("x",)), None, ABSENT]
    if isinstance(value, list):
        return [value[::-1], value[:1], value + value[-1:], [], None, ABSENT]
    return [{}, None, ABSENT]
