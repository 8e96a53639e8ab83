"""Ages on the command line, such as `90s`, `15m`, `2h` or `3d`."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from cyclopts import Parameter

from shared.aws.clock import timestamp

_AGE: Final = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def time_ago(text: str) -> datetime | None:
    """The time that long ago, or None for a text that is no age."""
    age = _AGE.fullmatch(text)
    return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])}) if age else None


def _time_ago(_: Any, tokens: Sequence[Any]) -> str:
    """The time that long ago, in the ledger's format."""
    time = time_ago(tokens[0].value)
    if time is None:
        raise ValueError("an age is a number and s, m, h or d, such as 2h")
    return timestamp(time)


TimeAgo = Annotated[str | None, Parameter(converter=_time_ago)]
"""An option that is given as an age. Its value is the time that long ago, in the ledger's format."""
