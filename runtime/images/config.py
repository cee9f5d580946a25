"""preprocessor_config.json, the ecosystem's own account of how pictures become pixels."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.syntax.yaml import Map
from compiler.weights.config_table import plain
from runtime.images.transform import ImageTransform, Size

NAME: Final = "preprocessor_config.json"
#: What nobody said: pictures as they are.
PLAIN: Final = ImageTransform(None, None, "bilinear", (0.0,) * 3, (1.0,) * 3)

#: Pillow's numbers of its filters.
_FILTERS: Final[Mapping[int, str]] = MappingProxyType(
    {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
)
_READ: Final = frozenset(
    {
        "do_resize",
        "size",
        "resample",
        "do_center_crop",
        "crop_size",
        "crop_pct",
        "do_rescale",
        "rescale_factor",
        "do_normalize",
        "image_mean",
        "image_std",
    }
)
#: Names of classes, and how arrays are laid out, which is always alike here.
_SILENT: Final = frozenset(
    {"image_processor_type", "feature_extractor_type", "processor_class", "do_convert_rgb", "data_format"}
)
#: From this edge on a picture with a `crop_pct` is resized as a whole.
_WHOLE: Final = 384


def from_config(config: Map, said: ImageTransform | None) -> ImageTransform:
    """The transform of the file; what it leaves out is as the spec says.

    Raises CompileError with the place of every setting that is not expressed here.
    """
    base = said or PLAIN
    read = _Reading(config)
    read.check_keys()
    crop = read.crop(base)
    resize = read.resize(base, cropped=crop is not None)
    if "crop_pct" in read.values and isinstance(resize, int):
        crop = None if resize >= _WHOLE else (resize, resize)
        resize = (resize, resize) if crop is None else int(resize / read.values["crop_pct"])
    found = ImageTransform(
        resize,
        crop,
        base.interpolation if "resample" not in read.values else _FILTERS.get(read.values["resample"], ""),
        read.channels("image_mean", base.mean, 0.0),
        read.channels("image_std", base.std, 1.0),
    )
    read.diagnostics.check()
    return found


class _Reading:
    """The settings of a file, nulls left out, and the faults that were found."""

    def __init__(self, config: Map) -> None:
        self.values: dict[str, Any] = {str(k): plain(v) for k, v in config.items() if plain(v) is not None}
        self.spans = {str(k): k.span for k in config}
        self.diagnostics = Diagnostics()

    def refuse(self, key: str, why: str) -> None:
        message = f"`{key}: {self.values[key]}` is not expressed here: {why}"
        self.diagnostics.error("config-value", message, self.spans[key])

    def check_keys(self) -> None:
        for key, value in self.values.items():
            if key not in _READ | _SILENT and value is not False:
                self.refuse(key, f"known are {', '.join(sorted(_READ))}")
        if self.values.get("do_rescale") is False:
            self.refuse("do_rescale", "colours are divided by 255")
        factor = self.values.get("rescale_factor", 1 / 255)
        if not isinstance(factor, float) or abs(factor * 255 - 1) > 1e-6:
            self.refuse("rescale_factor", "colours are divided by 255")
        if self.values.get("resample", 0) not in _FILTERS:
            self.refuse("resample", f"filters are {', '.join(f'{k} ({v})' for k, v in _FILTERS.items())}")

    def crop(self, base: ImageTransform) -> Size | None:
        if not self.values.get("do_center_crop", base.crop is not None):
            return None
        found = self._size("crop_size") if "crop_size" in self.values else base.crop
        return (found, found) if isinstance(found, int) else found

    def resize(self, base: ImageTransform, *, cropped: bool) -> int | Size | None:
        """A number alone is the shorter edge of what is cropped afterwards, else both edges."""
        if self.values.get("do_resize") is False:
            return None
        if "size" not in self.values:
            return base.resize
        found = self._size("size")
        edges = isinstance(self.values["size"], dict) or cropped or "crop_pct" in self.values
        return found if edges or not isinstance(found, int) else (found, found)

    def channels(self, key: str, base: tuple[float, ...], neutral: float) -> tuple[float, ...]:
        if self.values.get("do_normalize") is False:
            return (neutral,) * len(base)
        found = self.values.get(key, base)
        if isinstance(found, list | tuple) and found and all(type(v) in (int, float) for v in found):
            return tuple(map(float, found))
        self.refuse(key, "it is a list of numbers, one for each channel")
        return base

    def _size(self, key: str) -> int | Size | None:
        """A number, or a mapping of `shortest_edge`, or of `height` and `width`."""
        match self.values[key]:
            case int(edge) if edge > 0:
                return edge
            case {"shortest_edge": int(edge), **rest} if not rest and edge > 0:
                return edge
            case {"height": int(height), "width": int(width), **rest} if not rest and min(height, width) > 0:
                return height, width
        self.refuse(key, "a size is `shortest_edge`, or `height` and `width`")
        return None
