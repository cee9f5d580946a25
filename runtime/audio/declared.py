"""How a model wants its sound: by the preprocessor_config.json of its folder, else by its spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from torch import nn

from compiler.backend.build import program_of
from compiler.diagnostics.diagnostic import Diagnostics, fail
from compiler.ir.values import Record
from compiler.pipeline import compile as compile_spec
from compiler.syntax.yaml import Map
from compiler.weights.config_source import read_json
from compiler.weights.config_table import plain
from runtime.audio.log_mel import LogMel
from runtime.files import companion

NAME: Final = "preprocessor_config.json"
#: Settings of the file that are read, and what they set; the others repeat these, or name classes.
_READ: Final[Mapping[str, str]] = MappingProxyType(
    {
        "sampling_rate": "rate",
        "feature_size": "mels",
        "n_fft": "window",
        "hop_length": "hop",
        "n_samples": "length",
    }
)
#: Settings that change what is heard, and the only value of each that is expressed here.
_FIXED: Final = MappingProxyType(
    {"do_normalize": False, "dither": 0, "padding_value": 0, "padding_side": "right"}
)


def audio_transform(source: str | Path | nn.Module) -> LogMel:
    """The frames that a loaded module, or what `load` takes, hears.

    Raises CompileError where the spec does not say, and for a setting of the folder that is not expressed.
    """
    program = program_of(source) if isinstance(source, nn.Module) else compile_spec(source)
    section = program.typed.graph.io.get("audio")
    items = {k: v for k, v in section.items if v is not None} if isinstance(section, Record) else {}
    if absent := [field.name for field in fields(LogMel) if field.name not in items]:
        raise fail(
            "missing-field",
            f"the spec `{program.name}` does not say how sound becomes frames: {', '.join(absent)}",
            program.typed.root.block.span,
            help="add `io: {audio: {rate: 16000, mels: 80, window: 400, hop: 160, length: 480000}}`",
        )
    said = LogMel(**items)
    file = companion(source, NAME)
    return said if file is None else from_config(read_json(file), said)


def from_config(config: Map, said: LogMel) -> LogMel:
    """The frames as the file has them; what it leaves out is as the spec says."""
    diagnostics, found = Diagnostics(), dict[str, int]()
    for key, written in config.items():
        value = plain(written)
        if value is None:
            continue
        if key in _FIXED and value != _FIXED[key]:
            message = f"`{key}: {value}` is not expressed here: it is {_FIXED[key]}"
            diagnostics.error("config-value", message, key.span)
        elif key in _READ and (type(value) is not int or value < 1):
            diagnostics.error("config-value", f"`{key}: {value}` is no count", key.span)
        elif key in _READ:
            found[_READ[key]] = value
    diagnostics.check()
    return replace(said, **found)
