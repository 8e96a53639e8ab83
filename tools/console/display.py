"""How values of the ledger look. They are template filters, beside those of every console."""

import re
from datetime import datetime
from typing import Final

from markupsafe import Markup, escape

from durable_local.console.display import moment

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)", re.ASCII)


def ledger_time(text: str) -> Markup:
    """A time of the ledger, which the page's script shows in the viewer's zone."""
    return moment(datetime.fromisoformat(text)) if _TIME.fullmatch(text) else escape(text)


def with_times(text: str) -> Markup:
    """A sentence, escaped, in which each time is shown as `ledger_time` shows it."""
    shown = Markup()
    end = 0
    for found in _TIME.finditer(text):
        shown += escape(text[end : found.start()]) + ledger_time(found[0])
        end = found.end()
    return shown + escape(text[end:])


FILTERS: Final = {"ledger_time": ledger_time, "with_times": with_times}
