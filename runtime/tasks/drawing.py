"""Pictures of answers: a bar for each label beside the picture it is about, and pictures side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from PIL import Image, ImageDraw, ImageFont

#: Pixels. Everything is drawn at twice the size it is meant for, so that it is sharp on dense screens.
MARGIN, GAP, PANEL, BAR, TEXT, CAPTION = 40, 32, 480, 400, 26, 22
ROW: Final = 56
BACKGROUND, INK, FAINT, TRACK = "white", "#1c1c1c", "#6b6b6b", "#ececec"
BEST, OTHER = "#1f6feb", "#9dbdf0"
MAX_LABEL: Final = 420

Row = Sequence[Image.Image]


def bar_chart(image: Image.Image, bars: Sequence[tuple[str, float]]) -> Image.Image:
    """An image, and beside it each label with its probability as a bar, in the order given."""
    font, small = _font(TEXT), _font(CAPTION)
    labels = [_shortened(label, font) for label, _ in bars]
    label_width = max((round(font.getlength(label)) for label in labels), default=0)
    photo = _fitted(image, PANEL)
    body = max(photo.height, ROW * len(bars))
    left = MARGIN + photo.width + GAP
    width = left + label_width + GAP // 2 + BAR + 110 + MARGIN
    sheet = Image.new("RGB", (width, body + 2 * MARGIN), BACKGROUND)
    sheet.paste(photo, (MARGIN, MARGIN + (body - photo.height) // 2))
    draw = ImageDraw.Draw(sheet)
    best = max((value for _, value in bars), default=0.0)
    top = MARGIN + (body - ROW * len(bars)) // 2
    for i, (label, (_, value)) in enumerate(zip(labels, bars, strict=True)):
        middle = top + ROW * i + ROW // 2
        start = left + label_width + GAP // 2
        draw.text((start - GAP // 2, middle), label, INK, font, anchor="rm")
        box = (start, middle - 13, start + BAR, middle + 13)
        draw.rectangle(box, TRACK)
        if (length := round(BAR * min(max(value, 0.0), 1.0))) > 0:
            draw.rectangle((start, box[1], start + length, box[3]), BEST if value == best else OTHER)
        draw.text((start + BAR + 14, middle), f"{100 * value:.1f} %", INK, small, anchor="lm")
    return sheet


def stacked(charts: Sequence[Image.Image], note: str = "") -> Image.Image:
    """Charts below each other. note: a line below."""
    width = max(chart.width for chart in charts)
    sheet = Image.new("RGB", (width, sum(c.height for c in charts) + _note_height(note)), BACKGROUND)
    top = 0
    for chart in charts:
        sheet.paste(chart, (0, top))
        top += chart.height
    _write_note(sheet, note)
    return sheet


def side_by_side(titles: Sequence[str], rows: Sequence[Row], note: str = "") -> Image.Image:
    """Rows of pictures of one size, a title over each column. note: a line below."""
    scaled = [[_fitted(image, PANEL) for image in row] for row in rows]
    wide, high = scaled[0][0].size
    head = TEXT + GAP // 2
    width = 2 * MARGIN + len(titles) * wide + (len(titles) - 1) * GAP
    height = 2 * MARGIN + head + len(rows) * high + (len(rows) - 1) * GAP + _note_height(note)
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        x = MARGIN + column * (wide + GAP)
        draw.text((x + wide // 2, MARGIN), title, INK, _font(TEXT), anchor="mt")
        for i, row in enumerate(scaled):
            sheet.paste(row[column], (x, MARGIN + head + i * (high + GAP)))
    _write_note(sheet, note)
    return sheet


def _fitted(image: Image.Image, size: int) -> Image.Image:
    """The picture with its longer side of that many pixels; small ones keep their pixels' edges."""
    longer = max(image.size)
    shape = (max(1, round(image.width * size / longer)), max(1, round(image.height * size / longer)))
    method = Image.Resampling.NEAREST if longer * 4 <= size else Image.Resampling.LANCZOS
    return image.convert("RGB").resize(shape, method)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _shortened(label: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(label) <= MAX_LABEL:
        return label
    while label and font.getlength(label + "...") > MAX_LABEL:
        label = label[:-1]
    return label.rstrip() + "..."


def _note_height(note: str) -> int:
    return CAPTION + GAP if note else 0


def _write_note(sheet: Image.Image, note: str) -> None:
    if note:
        ImageDraw.Draw(sheet).text((MARGIN, sheet.height - MARGIN), note, FAINT, _font(CAPTION), anchor="ls")
