"""Where the checkpoint of a spec, or of one of its variants, is published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.diagnostics.suggest import did_you_mean
from compiler.syntax.model_spec import ModelSpec
from compiler.weights.library import Published, WeightMap

#: The label of a spec's own defaults among a map's `files`.
DEFAULT: Final = "default"


def published(maps: Sequence[WeightMap], spec: ModelSpec, variant: str) -> tuple[WeightMap, Published] | None:
    """The map that names the variant's checkpoint, and where it is; of several the one marked `default`.

    A parent's map reads a spec's checkpoints, but what it names are the parent's. Raises CompileError for a
    label that no variant has.
    """
    variants = {str(name): values for name, values in spec.variants.items()}
    defaults = [DEFAULT, *(name for name, values in variants.items() if not values)]
    labels = [variant, *defaults] if variant in ("", *defaults) else [variant]
    own = sorted((m for m in maps if m.spec == spec.spec.value), key=lambda m: not m.default)
    _check_labels(own, [DEFAULT, *variants])
    found = ((m, m.files[label]) for m in own for label in labels if label in m.files)
    return next(found, None)


def _check_labels(maps: Iterable[WeightMap], known: Sequence[str]) -> None:
    diagnostics = Diagnostics()
    for map in maps:
        for label, place in map.files.items():
            if label not in known:
                message = f"the spec {map.spec} has no variant `{label}`"
                diagnostics.error("unknown-field", message, place.span, help=did_you_mean(label, known))
    diagnostics.check()
