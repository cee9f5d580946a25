"""A whole process from its start to the first token; and the most memory that a long prompt takes.

`python -m bench.start WAY FOLDER` is one of those processes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench.timing import commands, measured, processes, ratio, told

LENGTH = 1024


def rows(quick: bool) -> list[Any]:
    """Both of GPT-2, in float32."""
    import torch

    from bench.models import saved, theirs
    from bench.table import AT_MOST, Row
    from bench.timing import column

    with saved(theirs("gpt2", torch.float32)) as folder:
        own = {
            way: [sys.executable, "-m", "bench.start", f"first-{way}", str(folder)]
            for way in ("ours", "theirs")
        }
        times = commands(own, 3 if quick else 9)
        found = processes("bench.start", ("prefill-ours", "prefill-theirs"), [str(folder)], 2 if quick else 5)
    memory = column(found, "private")
    return [
        Row(
            "process start to first token, GPT-2",
            "transformers",
            ratio(times, "ours", "theirs"),
            AT_MOST,
            0.6,
            told=told(times, ("ours", "theirs")),
        ),
        Row(
            f"prefill of {LENGTH}, GPT-2: most private memory",
            "transformers sdpa",
            ratio(memory, "prefill-ours", "prefill-theirs"),
            AT_MOST,
            1.0,
            told=told(memory, tuple(memory), 1e-6, "MB"),
        ),
    ]


def first_ours(folder: Path) -> None:
    """One token, greedy."""
    import torch

    import runtime

    model = runtime.load(folder)
    print(json.dumps(runtime.generate(model, torch.tensor([[1, 2, 3]]), max_new_tokens=1).tolist()))


def first_theirs(folder: Path) -> None:
    """The same; the class is named, as that imports least."""
    import torch
    from transformers import GPT2LMHeadModel

    model: Any = GPT2LMHeadModel.from_pretrained(folder).eval()
    tokens = torch.tensor([[1, 2, 3]])
    found = model.generate(
        tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=1, do_sample=False, pad_token_id=0
    )
    print(json.dumps(found.tolist()))


def prefill_ours(folder: Path) -> None:
    """A prompt into a fresh cache, as generation begins."""
    import torch

    import runtime

    model: Any = runtime.load(folder)
    tokens = torch.arange(LENGTH)[None]

    def run() -> Any:
        cache = model.new_cache(1, LENGTH)
        return model(tokens, cache=cache, last=True), cache

    with torch.inference_mode():
        model(tokens[:, :8])
        print(json.dumps(measured(run)))


def prefill_theirs(folder: Path) -> None:
    """The same: its generate asks for the last logits, too."""
    import torch
    from transformers import GPT2LMHeadModel

    model: Any = GPT2LMHeadModel.from_pretrained(folder).eval()
    tokens = torch.arange(LENGTH)[None]
    with torch.inference_mode():
        model(tokens[:, :8])
        print(json.dumps(measured(lambda: model(tokens, use_cache=True, logits_to_keep=1))))


WAYS = {
    "first-ours": first_ours,
    "first-theirs": first_theirs,
    "prefill-ours": prefill_ours,
    "prefill-theirs": prefill_theirs,
}

if __name__ == "__main__":
    WAYS[sys.argv[1]](Path(sys.argv[2]))
