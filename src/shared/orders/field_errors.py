"""Collects field errors: the same error in many lines of a list is one entry, and the top level comes first."""

import json
from collections import Counter
from typing import Final

from shared.errors import FieldError
from shared.orders.exact_json import field_path

Path = tuple[int | str, ...]

MAX_NAMES_BYTES: Final = 10 * 1024
"""The limit for the errors that have a name of the producer's, as JSON. After it such a name is `*`. All other errors
are few, so that a reject has space for every error."""

_MAX_PLACES: Final = 10
_LONGEST_TIMES: Final = " (10000 times)"


class FieldErrors:
    """The errors found so far."""

    def __init__(self) -> None:
        self._places: dict[tuple[Path, str, str], list[Path]] = {}
        self._counts: Counter[tuple[Path, str, str]] = Counter()
        self._lines: Counter[Path] = Counter()
        self._names_bytes = 0

    def add(self, path: Path, reason: str, hint: str = "", *, named: bool = False) -> None:
        """Add one. `named`: the last step of the path is a name that the producer chose."""
        key = (general(path), reason, hint)
        if named and key not in self._counts:
            times = _LONGEST_TIMES if key[0] != path else ""
            self._names_bytes += len(json.dumps({"field": field_path(path), "reason": reason + times}))
            if self.is_full:
                self.add_unnamed(path[:-1], reason.partition(",")[0])
                return
        self._counts[key] += 1
        places = self._places.setdefault(key, [])
        if len(places) < _MAX_PLACES:
            places.append(path)

    @property
    def is_full(self) -> bool:
        """Whether there is no space for another name of the producer's."""
        return self._names_bytes > MAX_NAMES_BYTES

    def add_unnamed(self, parent: Path, reason: str, number: int = 1) -> None:
        """Add the same error of several fields of one object, whose names have no space."""
        key = ((*general(parent), "*"), reason, "")
        self._counts[key] += number
        self._places.setdefault(key, [])

    def lines(self, path: Path, number: int) -> None:
        """Note that the list at this path has so many lines."""
        self._lines[general((*path, 0))] += number

    def errors(self) -> list[FieldError]:
        """The entries, those of the top level first."""
        return [
            FieldError(
                field_path(path if count > 1 or not self._places[key] else self._places[key][0]),
                reason + self._times(key, count),
                hint,
            )
            for key, count in sorted(self._counts.items(), key=lambda entry: len(entry[0][0]))
            for path, reason, hint in [key]
        ]

    def _times(self, key: tuple[Path, str, str], count: int) -> str:
        path = key[0]
        if count == 1:
            return ""
        if "*" in path[:-1]:
            line = len(path) - 1 - path[::-1].index("*", path[-1] == "*")
            places = [field_path(place[: line + 1]) for place in self._places[key]]
            if count < self._lines[path[: line + 1]] and 0 < len(set(places)) == len(places):
                where = f": {', '.join(places)}" if count == len(places) else f", the first in {places[0]}"
                return f" ({count} times{where})"
        return f" ({count} times)"


def general(path: Path) -> Path:
    """The path with `*` for the number of a line: `items.*.sku`."""
    return tuple("*" if isinstance(step, int) else step for step in path)
