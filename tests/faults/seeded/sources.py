"""Copies of the pipeline to deploy: with another clock, with an order that has one more field, without a mechanism.

The working tree is never changed. An edit whose text does not occur exactly once is an error: the code has changed, and
the edit must be adapted.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[3]


@dataclass(frozen=True)
class Edit:
    """`before` in the file at `path` (from the repository's root) becomes `after`."""

    path: str
    before: str
    after: str


class Copy:
    """template.yaml and src/ in a folder of their own, ready to be deployed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.copytree(REPOSITORY / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(REPOSITORY / "template.yaml", folder)

    @property
    def template(self) -> Path:
        """The copied template."""
        return self._folder / "template.yaml"

    def keep_older(self, edits: Iterable[Edit]) -> None:
        """Keeps src/ with these edits as older/, from where another part of the template can be deployed."""
        shutil.copytree(self._folder / "src", self._folder / "older")
        self.edit(edits)

    def edit(self, edits: Iterable[Edit]) -> None:
        """Applies the edits. Raises LookupError for a text that does not occur exactly once."""
        for edit in edits:
            path = self._folder / edit.path
            text = path.read_text()
            if text.count(edit.before) != 1:
                raise LookupError(f"{edit.path} has {text.count(edit.before)} times, not once: {edit.before}")
            path.write_text(text.replace(edit.before, edit.after))


class Clocks:
    """How many seconds the clock of each function's workers is ahead of the machine's clock.

    The functions read the time in two places. In the deployed copy both add the seconds from a file, so the clock of a
    worker can jump while it runs.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ahead: dict[str, float] = {}
        self.set("", 0)

    def set(self, function: str, seconds: float) -> None:
        """Sets the seconds for workers of the function with this logical id."""
        self._ahead[function] = seconds
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self._ahead))
        new.replace(self._file)

    @property
    def edits(self) -> list[Edit]:
        """The edits that make the functions use the file."""
        ahead = (
            '__import__("json").loads(open("' + str(self._file) + '").read())'
            '.get(__import__("os").environ["AWS_LAMBDA_FUNCTION_NAME"].rpartition("-")[2], 0)'
        )
        shifted = f'datetime.now(UTC) + __import__("datetime").timedelta(seconds={ahead})'
        return [
            Edit("src/shared/aws/clock.py", "datetime.now(UTC)", shifted),
            Edit("src/reconciler/sweep.py", "datetime.now(UTC)", shifted),
        ]


ONE_MORE_FIELD: Final = [
    Edit(
        "src/shared/orders/order.py",
        "    placed_at: Instant | None = None\n",
        "    placed_at: Instant | None = None\n    gift_note: Annotated[str, Field(max_length=256)] | None = None\n",
    )
]
"""Adds an optional field to the order (F22)."""

OLDER: Final = [
    Edit("older/shared/orders/order.py", "    placed_at: Instant | None = None\n", ""),
]
"""An older version, whose order does not have the field `placedAt` yet (F24)."""

OLDER_RECONCILER: Final = [
    Edit("template.yaml", f"      Handler: {handler}\n", f"      Handler: {handler}\n      CodeUri: older/\n")
    for handler in ("reconciler.handler.handler", "reconciler.handler.sweep")
]
"""The reconciler and the sweep are of the older version; everything else is newer."""

NEWER_RECONCILER: Final = [Edit(edit.path, edit.after, edit.before) for edit in OLDER_RECONCILER]

NEWER_ENRICHER: Final = [
    Edit(
        "src/enricher/handler.py",
        "            totals=totals(order),\n",
        '            totals=totals(order),\n            **{"enricherVersion": "2"},\n',
    )
]
"""An enricher that adds a field to its answer (F24)."""
