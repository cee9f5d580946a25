"""zero-shot: which of some labels fits an image."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from compiler.cli.arguments import Verbs, add_verb
from compiler.diagnostics.diagnostic import fail
from runtime.cli.model import add_model, mark, need_tokenizer, open_for, print_json
from runtime.cli.outputs import PNG, add_output, check_output, write_picture

if TYPE_CHECKING:
    from PIL.Image import Image

    from runtime.tasks.zero_shot import Match


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "zero-shot", "which of some labels fits an image, without training for them")
    add_model(parser)
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="files of images")
    parser.add_argument(
        "--labels", metavar="LABELS", required=True, help='what an image may show: "cat, dog, cup of coffee"'
    )
    parser.add_argument(
        "--template",
        default="a photo of a {}",
        help="the sentence in which {} is a label (default: %(default)s)",
    )
    add_output(parser, PNG, "draw each image beside the bars of its labels")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare, print, and draw where that was asked for."""
    labels = [label.strip() for label in options.labels.split(",") if label.strip()]
    if len(labels) < 2:
        raise fail("usage", "there is nothing to choose between", None, help='--labels "cat, dog"')
    check_output(options, PNG)
    opened = open_for("zero-shot", options)
    from runtime.tasks.zero_shot import zero_shot

    need_tokenizer(opened)
    found = zero_shot(opened, opened.images(options.images), labels, template=options.template)
    if options.output is not None:
        write_picture(_drawn(options.images, found, mark(options, opened)), options.output)
    if options.json:
        rows = zip(options.images, found, strict=True)
        print_json(options, opened, ({"image": image, "labels": matches} for image, matches in rows))
    else:
        for image, matches in zip(options.images, found, strict=True):
            print("\n".join((image, *(f"  {m.probability:.4f}  {m.label}" for m in matches))))
    return 0


def _drawn(images: Sequence[str], found: Sequence[Sequence[Match]], note: str) -> Image:
    """A chart for each image, below each other."""
    from torch import Tensor

    from runtime.images.pictures import open_picture
    from runtime.tasks.drawing import bar_chart, stacked

    charts = []
    for image, matches in zip(images, found, strict=True):
        picture = open_picture(image, 3)
        assert not isinstance(picture, Tensor), "a file is opened by Pillow"
        charts.append(bar_chart(picture, [(match.label, match.probability) for match in matches]))
    return stacked(charts, note)
