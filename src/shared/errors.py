"""Why an order could not go on, and whether trying again can help.

    OrderError
    ├── PermanentError               never retried
    │   ├── InvalidOrder             the input is not an order; `code` says how (nothing is started)
    │   │   ├── NotJson
    │   │   └── OrderTooLarge
    │   ├── OrderConflict            this order id is known with another body
    │   ├── OrderInProgress          another execution owns the order
    │   ├── OrderEnded               the order ended; this execution may not run it again
    │   ├── OrderCancelled           the order was cancelled
    │   ├── TooManyAttempts          the attempt is one more than an order may have
    │   ├── OrderUnknown             the order is not in the ledger
    │   ├── IllegalTransition        the ledger refused a step that the state table does not know
    │   ├── LedgerRejected           DynamoDB refused the request for good (validation, size)
    │   ├── EnrichmentRejected       the enricher answered, and the answer cannot be used
    │   ├── TooManyStarts            enrich began too often: its process keeps dying
    │   └── WaitDoesNotFit           the wait is longer than an execution may live
    └── TransientError               retried by a named policy or by the queue
        ├── LedgerUnavailable
        ├── EnricherUnavailable
        ├── StartUnavailable         Lambda could not take the start now
        ├── ExecutionUnavailable     Lambda could not read or stop an execution now
        ├── RejectUnavailable        the rejected-orders queue could not take the message now
        └── OperationsUnavailable    the operations table could not be read or written now

A message never repeats a value of the order: it may end in a log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class OrderError(Exception):
    """Root of everything this pipeline raises on purpose."""


class PermanentError(OrderError):
    """Trying again cannot help."""


class TransientError(OrderError):
    """Trying again later may help."""


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with an order: where (`items.0.quantity`, or empty for the whole) and why."""

    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}" if self.field else self.reason


class InvalidOrder(PermanentError):
    """The input is JSON but not an order."""

    code: ClassVar[str] = "INVALID_ORDER"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(map(str, self.errors)))


class NotJson(InvalidOrder):
    """The input is not a JSON text."""

    code: ClassVar[str] = "NOT_JSON"


class OrderTooLarge(InvalidOrder):
    """The order's canonical form or its text is larger than the pipeline carries."""

    code: ClassVar[str] = "TOO_LARGE"


class OrderConflict(PermanentError):
    """The order id is known with another body."""

    code: ClassVar[str] = "ORDER_CONFLICT"


class OrderInProgress(PermanentError):
    """Another execution owns the order and is still running it."""


class OrderEnded(PermanentError):
    """The order has ended, and this execution is not the retry that may begin it again."""


class OrderCancelled(PermanentError):
    """The order was cancelled."""


class TooManyAttempts(PermanentError):
    """The attempt comes after the last that an order may have."""


class OrderUnknown(PermanentError):
    """No order of this id is in the ledger."""


class IllegalTransition(PermanentError):
    """The state table does not allow this step from the state the order is in."""


class LedgerRejected(PermanentError):
    """DynamoDB refused the request in a way that waiting does not change, or would: the item has no room for it."""


class EnrichmentRejected(PermanentError):
    """The enricher's answer cannot be used."""


class TooManyStarts(PermanentError):
    """The enrich step of one attempt began more often than it may."""


class WaitDoesNotFit(PermanentError):
    """The configured wait does not fit into the configured execution timeout."""


class LedgerUnavailable(TransientError):
    """DynamoDB throttled, failed, did not answer, or is not set up right just now."""


class EnricherUnavailable(TransientError):
    """The enricher did not answer, or failed in a way that may pass.

    `calls` is how often this attempt of the order has called it, this call included.
    """

    def __init__(self, message: str, calls: int = 1) -> None:
        self.calls = calls
        super().__init__(message)


class StartUnavailable(TransientError):
    """Lambda throttled the start, failed, or did not answer in time."""


class ExecutionUnavailable(TransientError):
    """Lambda throttled, refused, failed or did not answer a question about an execution, or a stop."""


class RejectUnavailable(TransientError):
    """SQS did not take the rejected message."""


class OperationsUnavailable(TransientError):
    """DynamoDB throttled, refused or did not answer a request about the operations table."""


# What an execution that does not own the order fails with: the ledger holds another's truth and stays as it is.
REFUSALS: tuple[type[PermanentError], ...] = (
    OrderConflict,
    OrderInProgress,
    OrderEnded,
    OrderCancelled,
    TooManyAttempts,
)

_RESTORABLE: dict[str, type[OrderError]] = {
    f"{cls.__module__}.{cls.__qualname__}": cls
    for cls in (
        *REFUSALS,
        IllegalTransition,
        LedgerRejected,
        EnrichmentRejected,
        TooManyStarts,
        LedgerUnavailable,
        EnricherUnavailable,
    )
}


def restored(error_type: str, message: str) -> OrderError | None:
    """The error of this module that a durable step failed with, or None when it was another's.

    The durable SDK keeps only the qualified class name and the message of what a step raised.
    """
    cls = _RESTORABLE.get(error_type)
    return cls(message) if cls else None
