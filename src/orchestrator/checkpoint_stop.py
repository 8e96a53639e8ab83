"""Ends an invocation when its work is done, not up to 100 ms later, and sends a checkpoint when it is there.

When the workflow returns or suspends, the durable SDK sets an event and waits for its checkpoint thread. The thread
sleeps in a read of its queue and sees the event only when the read times out, after `_STOP_SIGNAL_POLL_SECONDS`. Lambda
bills that time in each invocation. No setting, plugin or argument of the SDK reaches it, so this module replaces one
method: after the event is set, an item in the queue wakes the thread. It is the item that the SDK itself uses to wake
the thread, and that it never sends. Report: durable_local/docs/upstream/durable-sdk-the-end-of-an-invocation-waits.md

Before the thread sends a checkpoint that the workflow waits for, it waits `_BLOCKED_CALLER_WAIT_SECONDS`, 1 ms, for
checkpoints of parallel branches. The workflow has none. With branches each would be a call of its own, and still right.

Delete this module when the SDK does the first: the second is not worth a module.
"""

import logging
from typing import Any, Final

from aws_durable_execution_sdk_python import __version__, state

READ_SDK_VERSION: Final = "3.0.0"
"""The version whose `state.py` was read for this. Another may use the queue in another way."""

_log: Final = logging.getLogger(__name__)


def wake_at_stop(version: str = __version__, sdk: Any = state) -> bool:
    """Make the SDK wake its checkpoint thread at the end of an invocation. Returns whether it does so now.

    If the SDK is not the one that was read, it stays as it is, and one warning says so: invocations then end correctly,
    but late.
    """
    stop = getattr(getattr(sdk, "ExecutionState", None), "stop_checkpointing", None)
    wake = getattr(getattr(sdk, "_Signal", None), "REFRESH_WAKE", None)
    if getattr(stop, "wakes", False):
        return True
    if version != READ_SDK_VERSION or stop is None or wake is None or not hasattr(sdk, "_BLOCKED_CALLER_WAIT_SECONDS"):
        _log.warning("the durable SDK %s is not %s: invocations end late", version, READ_SDK_VERSION)
        return False

    def stop_and_wake(self: Any) -> None:
        stop(self)
        self._checkpoint_queue.put(wake)

    stop_and_wake.wakes = True  # type: ignore[attr-defined]
    sdk.ExecutionState.stop_checkpointing = stop_and_wake
    sdk._BLOCKED_CALLER_WAIT_SECONDS = 0.0  # noqa: SLF001
    return True
