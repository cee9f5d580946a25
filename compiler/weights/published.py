"""Where the checkpoint of a spec, or of one of its variants, is published."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.diagnostics.diagnostic import fail
from compiler.diagnostics.suggest import did_you_mean
from compiler.syntax.model_spec import ModelSpec
from compiler.weights.library import Published, WeightMap

#: The label of a spec's own defaults among a map's `files`.
DEFAULT = "default"


def published(maps: Sequence[WeightMap], spec: ModelSpec, variant: str) -> tuple[WeightMap, Published] | None:
    """The map that names the variant's checkpoint, and where it is; of several the one marked `default`.

    A parent's map reads a spec's checkpoints, but what it names are the parent's. Raises CompileError for a
    label that no variant has.
    """
    variants = {str(name): values for name, values in spec.variants.items()}
    own = [m for m in maps if m.spec == spec.spec.value]
    for map in sorted(own, key=lambda m: not m.default):
        for label, place in map.files.items():
            if label != DEFAULT and label not in variants:
                raise fail(
                    "unknown-field",
                    f"the spec {map.spec} has no variant `{label}`",
                    place.span,
                    help=did_you_mean(label, [DEFAULT, *variants]),
                )
        labels = (
            [variant] if variant else [DEFAULT, *(name for name, values in variants.items() if not values)]
        )
        for label in labels:
            if label in map.files:
                return map, map.files[label]
    return None
