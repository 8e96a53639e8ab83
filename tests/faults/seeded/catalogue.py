"""The faults that every seed injects, by their numbers."""

from typing import Final

FAULTS: Final = {
    "F1": "duplicate delivery, same batch or another",
    "F2": "redelivery after the visibility timeout, while running or after the end",
    "F3": "same order id, other body: while running, after COMPLETED, after the name is forgotten",
    "F4": "poison message",
    "F5": "partial batch failure",
    "F6": "ingest killed: before the start, after it, after its answer",
    "F7": "start throttled, 5xx, or cut after it was accepted",
    "F8": "orchestrator killed before, in or after a request",
    "F9": "checkpoint API 429, 5xx, stale token, slow",
    "F10": "checkpoint API answers 4xx at each try",
    "F11": "ledger write applied, response lost",
    "F12": "ledger throttled or down, for a moment or longer than the retry policy",
    "F13": "enricher: time-out, crash, error, not JSON, wrong order, missing fields, too large, slow",
    "F14": "execution timeout in a step and in the wait; a step that kills its process each time",
    "F15": "operator stops, pauses, resumes or deletes the execution",
    "F16": "status-change event lost, late, doubled, out of order",
    "F17": "cancel races finalize",
    "F18": "retry races redelivery, another retry, a direct invoke, an old process",
    "F19": "new code is published while orders wait",
    "F20": "the clock jumps",
    "F21": "one start hangs until the client's timeout",
    "F22": "a new version adds an optional field between a start and its redelivery",
    "F23": "a checkpoint response without a token",
    "F24": "orchestrator and enricher, or reconciler and orchestrator, of different versions",
    "F25": "the reconciler, a sweep, a cancel, a retry or a redrive ends at one of its requests",
    "F26": "an older item of a completed order is put back",
    "F27": "the publisher is killed, or the event bus fails or does not answer",
}
"""What goes wrong, in the words of the table that a run prints."""
