"""Several processes against one, and against torch alone: the same steps, figures, states, faults."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file as read_tensors
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import distribute_tensor
from torch.optim import AdamW

import runtime
from compiler.backend.build import build
from compiler.ir.typed import TypedGraph
from compiler.parallel.placement import Placement, place
from compiler.pipeline import program, typed_graph
from runtime.checkpoint.staging import Staging
from runtime.cli.main import main
from runtime.parallel.gradients import local
from runtime.parallel.sharding import DATA, TENSOR, sharded
from runtime.parallel.world import World, joined
from runtime.training import loop
from runtime.training.data.common import IGNORED, Example
from runtime.training.losses import Own
from runtime.training.run import evaluate, train
from runtime.training.saved import open_saved
from runtime.training.step import NotFinite, Trained, train_step
from tests.training.recipes import RECIPE, full_disk, write
from tests.training.worlds import Worlds, printed, worlds

SIZES: dict[str, Any] = dict(vocab=11, context=8, dim=12, depth=3, heads=2, dropout=0.0)
STEPS, BATCH, PARTS, CLIP = 4, 8, 2, 0.5
#: Keys' biases have no gradient but rounding; a small eps would scale it up to whole steps.
ADAM: dict[str, Any] = dict(lr=1e-2, eps=1e-4)
CHANCE = RECIPE.replace("batch: 6, accumulate: 3", "batch: 8, accumulate: 2").replace("heads: 3", "heads: 2")
STEADY = CHANCE.replace("dropout: 0.2", "dropout: 0.0").replace("lr: 1e-2", "lr: 1e-3, eps: 1e-4")


@pytest.fixture(scope="module")
def many() -> Iterator[Worlds]:
    with worlds(4) as found:
        yield found


def batches() -> list[Example]:
    """Rows of very different numbers of labels; in the second step a process of two has none in one part."""
    chance = torch.Generator().manual_seed(7)
    found = []
    for step in range(STEPS):
        tokens = torch.randint(11, (BATCH, 8), generator=chance)
        kept = torch.rand(BATCH, 8, generator=chance) < torch.linspace(0.1, 0.9, BATCH)[:, None]
        kept[:, 0] = False  # no logits are before it
        if step == 1:
            kept[4:6] = False
        found.append({"tokens": tokens, "labels": tokens.where(kept, torch.tensor(IGNORED))})
    return found


def graph() -> TypedGraph:
    return typed_graph("char_gpt", set=SIZES)


def model(device: str | None = None, tp: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return build(program(graph(), "local" if tp > 1 else "views"), device=device).train()


def trained(module: nn.Module) -> Trained:
    own = Own.model_validate({"kind": "own"})
    inputs = frozenset({"tokens", "labels"})
    return Trained(module, own, inputs, ("logits", "loss"), torch.float32, torch.device("cpu"))


def parts(batch: Example, world: World) -> list[Example]:
    """Our share of the parts of a batch."""
    index, of = world.share.index, world.share.of
    cut = [{k: v.chunk(PARTS)[part].chunk(of)[index] for k, v in batch.items()} for part in range(PARTS)]
    return cut


def steps(tp: int) -> tuple[list[tuple[float, float]], list[dict[str, Tensor]]]:
    """Losses and norms; the clipped gradients of each step, and the parameters in the end, whole."""
    with joined() as world:
        world.arrange(tp, "cpu", None)
        module = world.place(lambda on: model(on, tp), torch.device("cpu"), lambda: place(graph(), tp=tp))
        optimizer = AdamW(module.parameters(), fused=True, **ADAM)
        figures, found = [], []
        for batch in batches():
            figures.append(train_step(trained(module), optimizer, parts(batch, world), CLIP, world))
            found.append({n: p.grad.full_tensor() for n, p in module.named_parameters()})  # type: ignore
        found.append({n: p.full_tensor() for n, p in module.named_parameters()})  # type: ignore
    return figures, [{name: value.detach() for name, value in each.items()} for each in found]


def expected() -> tuple[list[tuple[float, float]], list[dict[str, Tensor]]]:
    """Plain torch, in whole batches."""
    module: Any = model()
    optimizer = AdamW(module.parameters(), **ADAM)
    figures, found = [], []
    for batch in batches():
        optimizer.zero_grad()
        loss = module(**batch).loss
        loss.backward()
        norm = nn.utils.clip_grad_norm_(module.parameters(), CLIP)
        optimizer.step()
        figures.append((float(loss.detach()), float(norm)))
        found.append({n: p.grad.clone() for n, p in module.named_parameters()})
    found.append(dict(module.named_parameters()))
    return figures, found


@pytest.mark.parametrize(("size", "tp"), [(2, 1), (2, 2), (4, 2)])
def test_steps_are_those_of_one_process(size: int, tp: int, many: Worlds) -> None:
    figures, tensors = expected()
    assert figures[0][1] > CLIP
    for ours, theirs in many.run(size, steps, tp):
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(figures), rtol=1e-6, atol=1e-6)
        for step, (found, wanted) in enumerate(zip(theirs, tensors, strict=True)):
            for name, value in wanted.items():
                torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6, msg=f"{name} in {step}")


class Scaled(nn.Module):
    """A map, and a number that its result is multiplied by."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(3, 2)
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.map(x) * self.scale


def scaled(device: str | None) -> nn.Module:
    torch.manual_seed(0)
    return Scaled().to(device)


def scale_of_two() -> tuple[float, float]:
    """The norm of the gradients of a sum over rows, and a number after two steps along them."""
    with joined() as world:
        world.arrange(1, "cpu", None)
        module = world.place(scaled, torch.device("cpu"), lambda: Placement({}, (), {}, (), ()))
        optimizer = AdamW(module.parameters(), lr=0.1, fused=True)
        norm = 0.0
        for _ in range(2):
            module(torch.arange(12.0).reshape(4, 3).chunk(world.share.of)[world.share.index]).sum().backward()
            norm = float(world.norm([p.grad for p in module.parameters() if p.grad is not None]))
            optimizer.step()
        return norm, module.get_parameter("scale").item()


def test_a_parameter_without_axes_is_whole_on_all(many: Worlds) -> None:
    module = scaled(None)
    optimizer = AdamW(module.parameters(), lr=0.1)
    norm = 0.0
    for _ in range(2):
        module(torch.arange(12.0).reshape(4, 3)).sum().backward()
        norm = float(nn.utils.clip_grad_norm_(module.parameters(), float("inf")))
        optimizer.step()
    expected = (norm, module.get_parameter("scale").item())
    assert many.run(2, scale_of_two) == [pytest.approx(expected, rel=1e-6)] * 2


@pytest.mark.parametrize("learned", [True, False])
def test_a_parameter_without_axes_may_be_frozen(learned: bool, tmp_path: Path) -> None:
    """As CLIP's scale of the logits is: here in a world of one, without another process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1, 1), mesh_dim_names=(DATA, TENSOR))
        values = scaled(None).state_dict()
        module = scaled("meta")
        module.get_parameter("scale").requires_grad_(learned)
        found = sharded(module, values, Placement({}, (), {}, (), ()), mesh, torch.device("cpu"))
        x = torch.arange(12.0).reshape(4, 3)
        found(x).sum().backward()
        expected = scaled(None)
        expected(x).sum().backward()
        gradients = {name: parameter.grad for name, parameter in expected.named_parameters()}
        if not learned:
            gradients["scale"] = None
        for name, parameter in found.named_parameters():
            ours = None if parameter.grad is None else local(parameter.grad)
            torch.testing.assert_close(ours, gradients[name])
    finally:
        dist.destroy_process_group()


def figures(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "data", "rate")} for row in rows]


def numbers(row: dict[str, Any]) -> dict[str, float]:
    """What a step or an evaluation found."""
    return {name: row[name] for name in ("loss", "grad_norm", "lr") if name in row} | row.get("valid", {})


def close(ours: Path, theirs: Path) -> None:
    """Two runs of the same recipe tell the same, and leave the same model."""
    for found, wanted in zip(figures(ours), figures(theirs), strict=True):
        assert numbers(found) == pytest.approx(numbers(wanted), rel=1e-6), wanted["step"]
    models = (read_tensors(folder / "best/model.safetensors") for folder in (ours, theirs))
    torch.testing.assert_close(*models, rtol=0, atol=1e-6)


class Killed(Exception):
    pass


def run(recipe: Path, out: Path, kill: int | None = None, resume: bool = False, tp: int = 1) -> None:
    """Train, or leave as if killed right after that step."""
    look = loop.Loop._look

    def die(self: loop.Loop, stop: Any) -> None:
        if self.state.progress.step == kill:
            raise Killed
        look(self, stop)

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        patch.setattr(loop.Loop, "_look", die)
        train(recipe, out, set={"parallel.tp": tp}, resume=resume, log=io.StringIO())


def held(folder: Path) -> dict[str, Tensor]:
    """All that a run saved last, whole, by whatever world."""
    saved = open_saved(folder / "last", World())
    found = {key: torch.empty_like(tensor, device="cpu") for key, tensor in saved.tensors.items()}
    saved.fill(found)
    return found


def same(ours: Path, theirs: Path) -> bool:
    found, wanted = held(ours), held(theirs)
    assert found.keys() == wanted.keys()
    return all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recipe without chance but in the order, and the run of one process."""
    folder = tmp_path_factory.mktemp("steady")
    recipe = write(folder, STEADY)
    run(recipe, folder / "one")
    return recipe, folder / "one"


def test_a_run_is_that_of_one_process(steady: tuple[Path, Path], many: Worlds, tmp_path: Path) -> None:
    recipe, one = steady
    many.run(2, run, recipe, tmp_path / "two")
    close(tmp_path / "two", one)
    tokens = torch.arange(16)[None]
    theirs: Any = runtime.load(one / "best")
    ours: Any = runtime.load(tmp_path / "two" / "best")
    torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=0, atol=1e-5)
    for checkpoint in ("best", "last"):
        found, wanted = (evaluate(f, checkpoint=checkpoint) for f in (tmp_path / "two", one))
        assert found == pytest.approx(wanted, rel=1e-6)
    assert (tmp_path / "two" / "README.md").read_text().count("- processes: 2\n") == 1


@pytest.mark.parametrize(
    ("before", "after"), [((2, 1), (1, 1)), ((1, 1), (2, 1)), ((4, 2), (1, 1)), ((2, 1), (4, 2))]
)
def test_another_world_goes_on(
    before: tuple[int, int],
    after: tuple[int, int],
    steady: tuple[Path, Path],
    many: Worlds,
    tmp_path: Path,
) -> None:
    """(processes, those of them that share each layer), and then others."""
    recipe, one = steady
    many.run(before[0], run, recipe, tmp_path / "run", 7, False, before[1])
    many.run(after[0], run, recipe, tmp_path / "run", None, True, after[1])
    close(tmp_path / "run", one)


def test_the_same_world_goes_on_bit_for_bit(many: Worlds, tmp_path: Path) -> None:
    recipe = write(tmp_path, CHANCE)
    many.run(2, run, recipe, tmp_path / "whole")
    many.run(2, run, recipe, tmp_path / "cut", 8)
    many.run(2, run, recipe, tmp_path / "cut", None, True)
    assert same(tmp_path / "cut", tmp_path / "whole")
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")
    rng = held(tmp_path / "cut")
    assert not torch.equal(rng["rng/cpu"], rng["rng/cpu/1"])


def asked_to_stop(recipe: Path, out: Path, resume: bool) -> tuple[Any, str, str]:
    """The command; without `resume`, the second process alone gets a SIGTERM in the middle of step 5."""
    step = train_step

    def asked(*given: Any) -> tuple[float, float]:
        if os.environ["RANK"] == "1" and given[-1].rank == 1 and not resume and next(count) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*given)

    count = itertools.count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train_step", asked)
        return printed(main, ["train", str(recipe), "--out", str(out), *(["--resume"] if resume else [])])


def test_a_signal_to_one_stops_all(steady: tuple[Path, Path], many: Worlds, tmp_path: Path) -> None:
    recipe, one = steady
    (first, _, said), (second, *silence) = many.run(2, asked_to_stop, recipe, tmp_path / "run", False)
    assert (first, second) == (143, 143)
    assert "stopped by SIGTERM after step 5; go on with --resume" in said and silence == ["", ""]
    (first, out, _), (second, *silence) = many.run(2, asked_to_stop, recipe, tmp_path / "run", True)
    assert (first, second) == (0, 0)
    assert "resumed after step 5" in out and silence == ["", ""]
    close(tmp_path / "run", one)


def not_finite() -> tuple[str, str, bool]:
    """What is not finite where only the second process reads what makes it so; whether nothing changed."""
    with joined() as world:
        world.arrange(1, "cpu", None)
        module = world.place(model, torch.device("cpu"), lambda: place(graph()))
        parameters: list[Any] = list(module.parameters())
        optimizer = AdamW(parameters, lr=1e-2, fused=True)
        table: Any = module.get_parameter("wpe.weight")
        rows = table.full_tensor().detach().clone()
        rows[7] = float("inf")
        table.data.copy_(distribute_tensor(rows, table.device_mesh, table.placements))
        before = [p.full_tensor().clone() for p in parameters]
        tokens = torch.arange(7 if world.first else 8)[None]
        part = {"tokens": tokens, "labels": tokens}
        try:
            train_step(trained(module), optimizer, [part, part], CLIP, world)
        except NotFinite as fault:
            after = [p.full_tensor() for p in parameters]
            return fault.what, fault.module, all(map(torch.equal, after, before))
    raise AssertionError("it was finite")


def test_what_is_not_finite_on_one_stops_all(many: Worlds) -> None:
    assert many.run(2, not_finite) == [("the loss", "`wpe`", True)] * 2


def full(recipe: Path, out: Path) -> tuple[Any, str, str]:
    """The command, where the second process finds no room on the disk for what it has to save at step 6."""
    adopt = Staging.adopt

    def fails(self: Staging, name: str) -> None:
        if "last-00000006" in self.folder.name and os.environ["RANK"] == "1":
            raise OSError(28, "No space left on device")
        adopt(self, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Staging, "adopt", fails)
        return printed(main, ["train", str(recipe), "--out", str(out)])


def test_a_full_disk_of_one_keeps_the_old_state(
    steady: tuple[Path, Path], many: Worlds, tmp_path: Path
) -> None:
    (first, _, said), (second, *silence) = many.run(2, full, steady[0], tmp_path / "run")
    assert (first, second) == (1, 1)
    assert "No space left on device; what was there is unchanged" in said and silence == ["", ""]
    assert sorted(p.name for p in (tmp_path / "run/checkpoints").iterdir()) == [
        "best-00000004",
        "last-00000003",
    ]


def untold(recipe: Path, out: Path) -> tuple[Any, str, str]:
    """The command, where the first process cannot tell of step 4."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", full_disk("metrics.jsonl", 5))
        return printed(main, ["train", str(recipe), "--out", str(out)])


def test_a_line_that_cannot_be_written_stops_all(
    steady: tuple[Path, Path], many: Worlds, tmp_path: Path
) -> None:
    (first, _, said), (second, *silence) = many.run(2, untold, steady[0], tmp_path / "run")
    assert (first, second) == (1, 1)
    assert "cannot write to metrics.jsonl: No space left on device" in said and silence == ["", ""]


def commanded(*arguments: str) -> tuple[Any, str, str]:
    return printed(main, ["train", *arguments])


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("train.batch=6", "a batch of 6 cannot be cut into 2 equal parts for each of 2 processes"),
        ("parallel.tp=3", "2 processes do not make groups of 3"),
        ("optimizer.lr=fast", "expected a number"),
        ("model.set.heads=3", "3 `heads` cannot be dealt out evenly to tp = 2 ranks"),
    ],
)
def test_a_fault_is_told_once(
    setting: str, said: str, steady: tuple[Path, Path], many: Worlds, tmp_path: Path
) -> None:
    tp = [] if "tp" in setting or "batch" in setting else ["--set", "parallel.tp=2"]
    command = (str(steady[0]), "--out", str(tmp_path / "run"), "--set", setting, *tp)
    (first, _, told), (second, *silence) = many.run(2, commanded, *command)
    assert (first, second) == (1, 1) and said in told and silence == ["", ""]
    assert not (tmp_path / "run").exists()


def test_one_process_loads_nothing_of_it(steady: tuple[Path, Path], tmp_path: Path) -> None:
    code = (
        "import sys; from runtime.cli.main import main; "
        f"print(main(['train', {str(steady[0])!r}, '--out', {str(tmp_path / 'run')!r}])); print(*sys.modules)"
    )
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    code, modules = lines.splitlines()[-2:]
    ours = {name for name in modules.split() if name.startswith("runtime.parallel.")}
    assert (code, ours) == ("0", {"runtime.parallel.world", "runtime.parallel.gradients"})
