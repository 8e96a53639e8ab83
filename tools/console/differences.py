"""What differs between two JSON values, by path."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MISSING = object()


@dataclass(frozen=True)
class Difference:
    """One changed value. `before` or `after` is None where there was none."""

    path: str
    before: Any
    after: Any


def differences(before: Any, after: Any, path: str = "") -> list[Difference]:
    """The changed values, in the order of `before`, then what is new. Paths are such as `items[1].quantity`."""
    return list(_differences(before, after, path))


def _differences(before: Any, after: Any, path: str) -> Iterator[Difference]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys([*before, *after]):
            below = f"{path}.{name}" if path else str(name)
            yield from _differences(before.get(name, _MISSING), after.get(name, _MISSING), below)
    elif _is_list(before) and _is_list(after):
        for number in range(max(len(before), len(after))):
            old, new = (each[number] if number < len(each) else _MISSING for each in (before, after))
            yield from _differences(old, new, f"{path}[{number}]")
    elif before != after:
        yield Difference(path, *(None if value is _MISSING else value for value in (before, after)))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
