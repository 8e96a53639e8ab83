"""A picture of statistics: a bar for each state, and a histogram of the times from start to end."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.ledger.states import State
from tools.operations.stats import Statistics
from tools.orders_cli.failure import CommandFailed

if TYPE_CHECKING:
    from PIL import ImageDraw

_WIDTH: Final = 900
_ROW: Final = 24
_LEFT: Final = 240
_MAX_BAR: Final = _WIDTH - _LEFT - 100
_BINS: Final = 20
_INK: Final = "#222222"
_BAR: Final = "#4472a8"


def plot(file: Path, counts: Mapping[State, int], found: Statistics) -> None:
    """Write the picture as a PNG. Raises `CommandFailed` without Pillow, or if the file cannot be written."""
    try:
        from PIL import Image, ImageDraw  # noqa: PLC0415 (only a picture needs it)
    except ImportError:
        raise CommandFailed("--plot needs Pillow: install it with `pip install pillow`") from None
    charts = {
        "orders by state": [(state.value, counts[state]) for state in State],
        "ended orders by time from start to end": bins(found),
    }
    image = Image.new("RGB", (_WIDTH, _ROW * (sum(len(rows) + 2 for rows in charts.values()) + 1)), "white")
    draw = ImageDraw.Draw(image)
    y = _ROW // 2
    for title, rows in charts.items():
        y = _chart(draw, y, title, rows)
    try:
        image.save(file, "PNG")
    except OSError as error:
        raise CommandFailed(f"{file} cannot be written: {error.strerror or error}") from None


def bins(found: Statistics) -> list[tuple[str, int]]:
    """The histogram of times from start to end: at most 20 ranges that grow by the same factor, with their counts."""
    buckets = found.total.buckets
    if not buckets:
        return []
    lowest = min(buckets)
    width = math.ceil((max(buckets) - lowest + 1) / _BINS)
    ranges: dict[int, int] = {}
    for bucket, number in buckets.items():
        place = (bucket - lowest) // width
        ranges[place] = ranges.get(place, 0) + number
    return [
        (f"up to {found.total.seconds(lowest + (place + 1) * width - 1):.3g} s", ranges.get(place, 0))
        for place in range(max(ranges) + 1)
    ]


def _chart(draw: "ImageDraw.ImageDraw", y: int, title: str, rows: list[tuple[str, int]]) -> int:
    """Draw a title and a bar for each row. Returns where the next chart begins."""
    draw.text((12, y), title, fill=_INK, font_size=16)
    largest = max((number for _, number in rows), default=0)
    for place, (label, number) in enumerate(rows, start=1):
        top = y + place * _ROW
        length = _MAX_BAR * number // largest if largest else 0
        draw.text((24, top), label, fill=_INK, font_size=14)
        draw.rectangle((_LEFT, top + 2, _LEFT + length, top + _ROW - 6), fill=_BAR)
        draw.text((_LEFT + length + 8, top), str(number), fill=_INK, font_size=14)
    return y + (len(rows) + 2) * _ROW
