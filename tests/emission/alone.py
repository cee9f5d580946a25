"""Run in a process that knows nothing of this project: what emitted files compute. Called by test_alone.py.

`python -I alone.py JOBS`: JOBS is a torch file, [{file, root, state, dtype, train, inputs, method}, ...]; the
results are written beside it. The environment may have the project installed, so its packages are refused by
name.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

import torch

FORBIDDEN = ("compiler", "runtime", "weightmaps", "specs", "jinja2", "pydantic", "yaml")


class Refusing(MetaPathFinder):
    """No import of what an emitted file must do without, wherever it is installed."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname.partition(".")[0] in FORBIDDEN:
            raise ImportError(f"an emitted file imports {fullname}")


def run(job: dict[str, Any], namespace: dict[str, Any]) -> dict[str, Any]:
    """Outputs, gradients and state-dict keys of one job."""
    model = namespace[job["root"]]()
    keys = list(model.state_dict())
    model.load_state_dict(job["state"])
    model.to(job["dtype"]).train(job["train"])
    torch.manual_seed(7)
    output = getattr(model, job["method"])(**job["inputs"])
    named = {"": output} if isinstance(output, torch.Tensor) else output._asdict()
    torch.autograd.backward([t.double().square().sum() for t in named.values() if t.requires_grad])
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {"keys": keys, "outputs": named, "gradients": gradients, "steps": steps(model, job)}


@torch.no_grad()
def steps(model: Any, job: dict[str, Any]) -> list[torch.Tensor]:
    """The same tokens through the cache: a prefill of 3, single steps, then the rest at once."""
    if not job["cached"]:
        return []
    model.eval()
    tokens = job["inputs"]["tokens"]
    mask = job["inputs"].get("mask")
    cache = model.new_cache(*tokens.shape)
    out: list[torch.Tensor] = []
    past = 0
    for length in (3, 1, 1, tokens.shape[1] - 5):
        part = None if mask is None else mask[:, : past + length]
        out.append(model(tokens[:, past : past + length], mask=part, cache=cache))
        past += length
    return out


def main(path: str) -> None:
    """Run every job of a file, each text once."""
    sys.meta_path.insert(0, Refusing())
    torch.set_num_threads(1)
    results: list[dict[str, Any]] = []
    namespaces: dict[str, dict[str, Any]] = {}
    for job in torch.load(path, weights_only=False):
        if job["file"] not in namespaces:
            with open(job["file"], encoding="utf-8") as source:
                text = source.read()
            namespaces[job["file"]] = {"__name__": "alone"}
            exec(compile(text, job["file"], "exec"), namespaces[job["file"]])  # noqa: S102
        results.append(run(job, namespaces[job["file"]]))
    known = [name for name in FORBIDDEN if name in sys.modules]
    torch.save({"results": results, "known": known}, path + ".out")


if __name__ == "__main__":
    main(sys.argv[1])
