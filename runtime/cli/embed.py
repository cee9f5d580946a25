"""embed: vectors of texts or images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from compiler.cli.arguments import Verbs, add_verb
from runtime.cli.model import add_model, in_batches, lines_of, need_tokenizer, open_for, print_json
from runtime.cli.outputs import SAFETENSORS, add_output, check_output, write_vectors

if TYPE_CHECKING:
    import torch

    from runtime.tasks.opened import Opened

BATCH, SHOWN = 32, 12


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "embed", "a vector for each text or image, and how alike they are")
    add_model(parser)
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="*",
        help="texts, or files of images where the model only sees; `-` reads one per line from stdin",
    )  # fmt: skip
    parser.add_argument(
        "--image", metavar="FILE", action="append", default=[], dest="images",
        help="an image, where the model both reads and sees; repeatable",
    )  # fmt: skip
    parser.add_argument("--query", metavar="TEXT", help="rank the inputs by how near they are to this text")
    parser.add_argument(
        "--pooling", choices=("mean", "first", "pooled"),
        help="how the vectors of tokens become one (default: what the folder says, else mean)",
    )  # fmt: skip
    add_output(parser, SAFETENSORS, "write the vectors as the tensor `vectors`")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Embed, then print the vectors and their likeness, or the ranking."""
    texts = lines_of(options.inputs, "input") if options.inputs or not options.images else []
    inputs = [*texts, *options.images]
    check_output(options, SAFETENSORS)
    opened = open_for("embed", options)
    from runtime.tasks.embed import ranking

    vectors = _vectors(opened, texts, options)
    ranked: list[tuple[int, float]] = []
    if options.query is not None:
        ranked = ranking(_of_texts(opened, [options.query], options.pooling)[0], vectors)
    if options.output is not None:
        write_vectors(vectors, options.output)
    if options.json:
        print_json(options, opened, _data(inputs, vectors, dict(ranked)))
    elif ranked:
        print("\n".join(f"{score:7.4f}  {inputs[row]}" for row, score in ranked))
    else:
        print("\n".join(_report(inputs, vectors)))
    return 0


def _vectors(opened: Opened, texts: list[str], options: argparse.Namespace) -> torch.Tensor:
    """A vector for each text, then for each image."""
    import torch

    from runtime.tasks.abilities import embeds_texts

    sees = not embeds_texts(opened.signature)
    images = [*texts, *options.images] if sees else options.images
    found = [] if sees or not texts else [_of_texts(opened, texts, options.pooling)]
    return torch.cat([*found, *_of_images(opened, images)])


def _of_texts(opened: Opened, texts: Sequence[str], pooling: str | None) -> torch.Tensor:
    """A vector for each text, a batch at a time; what was cut is told on stderr."""
    import torch

    from runtime.tasks.embed import embed_texts

    need_tokenizer(opened)
    found = []
    for chunk in in_batches(texts, BATCH, "embedding"):
        embeddings = embed_texts(opened, chunk, pooling=pooling)
        found.append(embeddings.vectors)
        for row in embeddings.cut:
            print(f"note: too long, the end was left out: {chunk[row][:60]!r}...", file=sys.stderr)
    return torch.cat(found)


def _of_images(opened: Opened, files: Sequence[str]) -> list[torch.Tensor]:
    from runtime.tasks.embed import embed_images

    chunks = in_batches(files, BATCH, "embedding")
    return [embed_images(opened, opened.images(list(chunk))).vectors for chunk in chunks]


def _data(
    inputs: Sequence[str], vectors: torch.Tensor, scores: dict[int, float]
) -> Iterator[dict[str, object]]:
    for row, (given, vector) in enumerate(zip(inputs, vectors.tolist(), strict=True)):
        yield {"input": given, "vector": vector} | ({"score": scores[row]} if scores else {})


def _report(inputs: Sequence[str], vectors: torch.Tensor) -> Iterator[str]:
    """A line for each input; the cosines of all pairs where they fit a screen."""
    from runtime.tasks.embed import similarity

    for number, (given, vector) in enumerate(zip(inputs, vectors, strict=True), 1):
        first = " ".join(f"{x:.3f}" for x in vector[:4].tolist())
        yield f"{number:>3}  [{len(vector)} numbers: {first} ...]  {given}"
    if 1 < len(inputs) <= SHOWN:
        yield "\ncosine" + "".join(f"{number:>8}" for number in range(1, len(inputs) + 1))
        for number, row in enumerate(similarity(vectors, vectors).tolist(), 1):
            yield f"{number:>6}" + "".join(f"{x:8.4f}" for x in row)
