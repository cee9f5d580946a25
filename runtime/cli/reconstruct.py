"""reconstruct: images with most of their patches hidden, redrawn by a model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.cli.arguments import Verbs, add_verb
from runtime.cli.model import add_model, mark, open_for, print_json
from runtime.cli.outputs import PNG, add_output, check_output, write_picture

if TYPE_CHECKING:
    from PIL.Image import Image

    from runtime.tasks.opened import Opened
    from runtime.tasks.reconstruct import Reconstruction

TITLES = ("masked", "reconstructed", "original")
HIDDEN = 225  # the grey of what was not shown


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "reconstruct", "hide most of an image and let a model redraw it")
    add_model(parser)
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="files of images")
    parser.add_argument("--seed", type=int, default=0, help="of the chance that hides patches (default: 0)")
    add_output(parser, PNG, "where to draw what was hidden and redrawn", Path("reconstruction.png"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Redraw, draw side by side, and say how far off it is."""
    check_output(options, PNG)
    opened = open_for("reconstruct", options)
    from runtime.tasks.drawing import side_by_side
    from runtime.tasks.reconstruct import reconstruct

    found = reconstruct(opened, opened.images(options.images), seed=options.seed)
    note = f"{mark(options, opened)}: mean square error {found.error:.4f} over the hidden patches"
    write_picture(side_by_side(TITLES, list(_rows(opened, found)), note), options.output)
    if options.json:
        answer = {"images": options.images, "error": found.error, "loss": found.loss}
        print_json(options, opened, [{**answer, "picture": str(options.output)}])
    else:
        print(f"mean square error over the hidden patches: {found.error:.4f}\nwrote {options.output}")
    return 0


def _rows(opened: Opened, found: Reconstruction) -> Iterator[list[Image]]:
    """For each image what was shown of it, on grey, what the model made of that, and the whole."""
    from torchvision.transforms.v2.functional import to_pil_image

    originals, redrawn = map(opened.images.denormalize, (found.pixels, found.redrawn))
    masked = originals.masked_fill(found.hidden[:, None], HIDDEN)
    for row in zip(masked, redrawn, originals, strict=True):
        yield [to_pil_image(picture) for picture in row]
