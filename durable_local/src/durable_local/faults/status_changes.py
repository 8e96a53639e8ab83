"""Faults of status events between the runner and EventBridge: lost, late, duplicated, out of order."""

import threading
from collections.abc import Callable
from typing import Any

from durable_local.faults.actions import Delay, Drop, Hold, Twice
from durable_local.faults.register import Register
from durable_local.faults.rules import STATUS_CHANGE, Request


class FaultyStatusChanges:
    """Sends an event, or does what a rule says."""

    def __init__(self, register: Register) -> None:
        self._register = register

    def handle(self, event: dict[str, Any], send: Callable[[dict[str, Any]], None]) -> None:
        """Never blocks: a late event is sent on a thread of its own, so later events can overtake it."""
        request = Request(STATUS_CHANGE, "PutEvents", None, None, event["Detail"])
        active = self._register.due(request)
        if active is None:
            send(event)
            return
        self._register.done(active, request)
        match active.rule.action:
            case Drop():
                pass
            case Delay(seconds):
                _later(seconds, send, event)
            case Twice(after):
                send(event)
                _later(after, send, event)
            case Hold():
                active.released.add_done_callback(lambda _: _later(0, send, event))


def _later(seconds: float, send: Callable[[dict[str, Any]], None], event: dict[str, Any]) -> None:
    timer = threading.Timer(seconds, send, (event,))
    timer.daemon = True
    timer.start()
