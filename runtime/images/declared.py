"""How a model wants its pictures: by the preprocessor_config.json of its folder, else by its spec."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from compiler.backend.build import program_of
from compiler.diagnostics.diagnostic import fail
from compiler.ir.values import Record
from compiler.pipeline import compile as compile_spec
from compiler.weights.config_source import read_json
from runtime.files import companion
from runtime.images.config import NAME, PLAIN, from_config
from runtime.images.transform import ImageTransform


def image_transform(source: str | Path | nn.Module) -> ImageTransform:
    """The transform of a loaded module, or of what `load` takes.

    Raises CompileError where nothing says how, and for a setting of the folder that is not expressed here.
    """
    program = program_of(source) if isinstance(source, nn.Module) else compile_spec(source)
    section = program.typed.graph.io.get("image")
    said = _of_spec(section) if isinstance(section, Record) else None
    file = companion(source, NAME)
    if file is not None:
        return from_config(read_json(file), said)
    if said is None:
        raise fail(
            "missing-field",
            f"the spec `{program.name}` does not say how pictures become pixels",
            program.typed.root.block.span,
            help="add `io: {image: {resize: [224, 224], interpolation: bilinear, mean: [...], std: [...]}}`",
        )
    return said


def _of_spec(section: Record) -> ImageTransform:
    crop = section.get("crop")
    return ImageTransform(
        resize=section.get("resize"),
        crop=(crop, crop) if isinstance(crop, int) else crop,
        interpolation=section.get("interpolation") or PLAIN.interpolation,
        mean=tuple(map(float, section.get("mean") or PLAIN.mean)),
        std=tuple(map(float, section.get("std") or PLAIN.std)),
    )
