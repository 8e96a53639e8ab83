"""What a benchmark returns: measured series, and rows that say whether a target holds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any


@dataclass(frozen=True)
class Series:
    """The runs of one variant. `spread` is the distance of the quartiles, as a share of the median."""

    name: str
    unit: str
    median: float
    p95: float
    spread: float
    runs: int

    @classmethod
    def of(cls, name: str, unit: str, values: Sequence[float]) -> "Series":
        """From at least two runs."""
        low, middle, high = quantiles(values, n=4, method="inclusive")
        p95 = quantiles(values, n=20, method="inclusive")[-1]
        return cls(name, unit, median(values), p95, (high - low) / middle if middle else 0.0, len(values))


@dataclass(frozen=True)
class Row:
    """One row of the table: a figure with its target. `holds` is None when this machine cannot measure it."""

    id: str
    figure: str
    value: float | None
    target: str
    holds: bool | None
    note: str = ""

    @classmethod
    def at_most(
        cls, row_id: str, figure: str, value: float | None, limit: float, *, unit: str = "x", note: str = ""
    ) -> "Row":
        """A row that holds when the value is not above the limit."""
        holds = None if value is None else value <= limit
        return cls(row_id, figure, value, f"≤ {limit:g} {unit}".strip(), holds, note)

    def data(self) -> dict[str, Any]:
        """The row as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Result:
    """What one benchmark found."""

    series: Sequence[Series]
    rows: Sequence[Row]
