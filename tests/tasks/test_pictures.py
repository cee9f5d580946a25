"""What is drawn of an answer, pixel by pixel, and where it may be written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from runtime.cli.main import main
from runtime.tasks.drawing import BAR, BEST, GAP, MARGIN, OTHER, PANEL, bar_chart, side_by_side, stacked
from tests.tasks.tokenizers import WORDS, save_tokenizer
from tests.unit.images.samples import picture, saved

MAE = "image=32 patch=8 dim=24 depth=1 heads=3 dec_dim=20 dec_depth=1 dec_heads=2".split()
CLIP = "image=32 patch=8 embed=20 v_dim=24 v_depth=1 v_heads=3 t_dim=24 t_depth=1 t_heads=3".split()


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(int)


def of_colour(image: Image.Image, colour: str) -> np.ndarray:
    """Where a picture has a colour: bool[H, W]."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return (pixels(image) == wanted).all(-1)


def settings(spec: list[str]) -> list[str]:
    return [part for one in spec for part in ("--set", one)]


def test_bars_are_as_long_as_their_values() -> None:
    values = [0.62, 0.3, 0.08, 0.0]
    chart = bar_chart(picture(400, 300), [(f"label {value}", value) for value in values])
    best, others = of_colour(chart, BEST).sum(1), of_colour(chart, OTHER).sum(1)
    assert set(best[best > 0]) == {round(BAR * 0.62) + 1}  # both ends are drawn
    assert set(others[others > 0]) == {round(BAR * v) + 1 for v in values[1:3]}
    assert of_colour(chart, OTHER)[: of_colour(chart, BEST).any(1).argmax()].sum() == 0  # in the order given
    photo = pixels(picture(400, 300).resize((PANEL, PANEL * 3 // 4), Image.Resampling.LANCZOS))
    top = (chart.height - len(photo)) // 2
    assert (pixels(chart)[top : top + len(photo), MARGIN : MARGIN + PANEL] == photo).all()


def test_a_label_that_is_too_long_leaves_room_for_the_bars() -> None:
    chart = bar_chart(picture(30, 30), [("very " * 100, 1.0)])
    assert chart.width < 2000 and of_colour(chart, BEST).any()


def test_panels_stand_side_by_side() -> None:
    rows = [[picture(PANEL, PANEL, seed=3 * i + j) for j in range(3)] for i in range(2)]
    sheet = side_by_side(["one", "two", "three"], rows, "a note")
    head = side_by_side([""], [[rows[0][0]]]).height - MARGIN - PANEL  # what stands above the first row
    for i, row in enumerate(rows):
        for j, panel in enumerate(row):
            left, top = MARGIN + j * (PANEL + GAP), head + i * (PANEL + GAP)
            found = sheet.crop((left, top, left + PANEL, top + PANEL))
            assert (pixels(found) == pixels(panel)).all()
    assert stacked([rows[0][0], rows[0][1]]).size == (PANEL, 2 * PANEL)


def test_a_reconstruction_shows_what_was_hidden(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(saved(tmp_path, picture(90, 70, seed), f"{seed}.png")) for seed in (1, 2)]
    out = tmp_path / "out" / "both.png"
    arguments = ["reconstruct", "vit_mae", "--weights", "none", *settings(MAE), *files, "-o", str(out)]
    assert main([*arguments, "--json"]) == 0
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert "untrained" in said.err and answer["untrained"] and answer["results"][0]["picture"] == str(out)
    sheet = pixels(Image.open(out))
    panel = side_by_side(["", "", ""], [[picture(32, 32)] * 3] * 2, "x")
    assert sheet.shape[:2] == panel.size[::-1]
    hidden = (sheet == 225).all(-1)[:, : MARGIN + PANEL]
    assert hidden.sum() == pytest.approx(2 * 0.75 * PANEL * PANEL, rel=0.02)
    assert main(arguments) == 0  # our own picture is replaced
    saved(out.parent, picture(9, 9), out.name)
    capsys.readouterr()
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert "error[not-writable]" in said.err and said.out == ""
    assert main([*arguments, "--force"]) == 0


def test_a_chart_is_written_beside_the_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tokenizer(tmp_path)
    file = saved(tmp_path, picture(90, 70))
    model = ["clip_vitb32", "--weights", "none", "--tokenizer", str(tmp_path), "--set", f"vocab={len(WORDS)}"]
    arguments = ["zero-shot", *model, *settings(CLIP), str(file), "--labels", "cat, dog, coffee"]
    torch.manual_seed(0)
    assert main([*arguments, "-o", str(tmp_path / "chart.png"), "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["results"]
    found = {match["label"]: match["probability"] for match in answer["labels"]}
    assert sorted(found) == ["cat", "coffee", "dog"] and sum(found.values()) == pytest.approx(1)
    best = of_colour(Image.open(tmp_path / "chart.png"), BEST).sum(1).max()
    assert best == round(BAR * max(found.values())) + 1
    faults = {"nothing to choose": ["--labels", "cat"], "does not end in .png": ["-o", "a.jpg"]}
    for expected, wrong in faults.items():
        assert main([*arguments, *wrong]) == 2
        assert expected in capsys.readouterr().err
