"""Where a source says what it is: its config.json or GGUF fields, and the map that reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compiler.diagnostics.diagnostic import fail
from compiler.source.text import SourceFile, Span, display_name
from compiler.syntax.yaml import Located, Map, Seq, parse_yaml
from compiler.weights.config_table import ConfigTable, plain, same
from compiler.weights.library import WeightMap
from compiler.weights.readers.strict_json import JsonFault, loads

CONFIG = "config.json"
GENERATION = "generation_config.json"
GGUF = ".gguf"
#: A config.json with places, or the fields of a GGUF file.
Fields = Map | Mapping[str, Any]


def read_json(path: Path) -> Map:
    """A JSON object with the place of every value. Raises CompileError."""
    try:
        file = SourceFile.read(path)
        value = loads(file.text.encode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise fail("unreadable", f"cannot read {display_name(path)}: {error}", None) from None
    except JsonFault as error:
        raise fail("checkpoint-format", f"not JSON: {error}", Span(file, 0, 0, 0, 0)) from None
    if not isinstance(value, dict):
        raise fail("checkpoint-format", "not a JSON object", Span(file, 1, 1, 1, 2))
    return parse_yaml(file)[0]


def read_fields(source: Path) -> Fields:
    """What a folder or file says of its model: config.json first, else the only GGUF file."""
    if source.is_dir():
        ggufs = sorted(source.glob(f"*{GGUF}"))
        source = ggufs[0] if len(ggufs) == 1 and not (source / CONFIG).exists() else source / CONFIG
    return _gguf_fields(source) if source.suffix == GGUF else read_json(source)


def _gguf_fields(path: Path) -> Mapping[str, Any]:
    """The file's fields, and the shape of each tensor as `tensor:NAME`: some facts stand nowhere else."""
    from compiler.weights.readers import read_header

    header = read_header(path)
    return {**header.metadata, **{f"tensor:{key}": list(info.shape) for key, info in header.tensors.items()}}


def whole(tree: Fields, source: Path) -> Span:
    """The place of a source as a whole."""
    return tree.span if isinstance(tree, Map) else Span(SourceFile(display_name(source), ""), 0, 0, 0, 0)


def choose(maps: list[WeightMap], tree: Fields, source: Path) -> WeightMap:
    """The only map whose `match` the config meets."""
    top = {str(key): plain(value) for key, value in tree.items()}
    architectures = _architectures(tree, source)
    typed = [m for m in maps if m.config and reads(m.config, top)]
    if not isinstance(tree, Map) or not architectures:
        found = (
            typed
            if len(typed) < 2
            else [m for m in typed if m.config and m.config.match.bare and m.config.match.bare.value]
        )
    else:
        found = [
            m
            for m in typed
            if m.config and {str(a.value) for a in m.config.match.architectures} & {*architectures}
        ]
    if len(found) == 1:
        return found[0]
    what = (
        f"architectures {', '.join(map(str, architectures))}"
        if architectures
        else f"model_type {top.get('model_type')}"
    )
    if found:
        names = ", ".join(sorted(m.name for m in found))
        raise fail(
            "ambiguous-name",
            f"{display_name(source)}: several maps read {what}",
            whole(tree, source),
            help=names,
        )
    known = sorted({str(a.value) for m in typed or maps if m.config for a in m.config.match.architectures})
    raise fail(
        "map-missing",
        f"{display_name(source)}: no weight map reads {what} (model_type {top.get('model_type')})",
        whole(tree, source),
        help="maps read " + ", ".join(known),
    )


def _architectures(tree: Fields, source: Path) -> list[str]:
    """The class names that a config gives. Raises CompileError where they are no list of texts."""
    written = next((value for key, value in tree.items() if key == "architectures"), None)
    names = plain(written)
    if names is None:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        place = written.span if isinstance(written, Located | Map | Seq) else whole(tree, source)
        raise fail("wrong-type", f"`architectures` is a list of class names, not {names}", place)
    return names


def reads(table: ConfigTable, top: Mapping[str, Any]) -> bool:
    """Whether a table is for sources of this type."""
    wanted = table.match
    if wanted.metadata:
        return all(key in top and same(top[key], value.value) for key, value in wanted.metadata.items())
    return wanted.model_type is not None and top.get("model_type") == wanted.model_type.value
