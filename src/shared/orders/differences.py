"""The fields in which two orders differ, for the producer whose order has the id of another one."""

from typing import Any

from shared.errors import FieldError
from shared.orders.field_errors import FieldErrors, Path


def differences(first: Any, other: Any) -> list[FieldError]:
    """The fields in which two orders in canonical form differ. Never a value of either."""
    found = FieldErrors()
    _compare(found, (), first, other)
    return found.errors()


def _compare(found: FieldErrors, path: Path, first: Any, other: Any) -> None:
    if first == other:
        return
    if isinstance(first, dict | list) and type(first) is type(other):
        ones, others = _parts(first), _parts(other)
        steps = sorted(ones.keys() | others.keys())
        if isinstance(first, list):
            found.lines(path, len(steps))
        for step in steps:
            if step not in ones:
                found.add((*path, step), "the first order does not have it")
            elif step not in others:
                found.add((*path, step), "only the first order has it")
            else:
                _compare(found, (*path, step), ones[step], others[step])
    else:
        found.add(path, "differs from the first order")


def _parts(value: Any) -> dict[Any, Any]:
    """The parts of an object by their names, or of a list by their numbers."""
    return dict(enumerate(value)) if isinstance(value, list) else value
