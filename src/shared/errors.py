"""Every error that the pipeline raises, and whether a retry can help.

    OrderError
    ├── PermanentError               never retried
    │   ├── InvalidOrder             the input is not an order, and nothing is started; `code` is the reason code
    │   │   ├── NotJson
    │   │   └── OrderTooLarge
    │   ├── OrderConflict            the order id is known with another body
    │   ├── OrderInProgress          another execution owns the order
    │   ├── OrderEnded               the order has ended, and this execution may not begin it again
    │   ├── OrderCancelled           the order was cancelled
    │   ├── OrderForgotten           the order has ended, and its personal fields are gone: it never runs again
    │   ├── TooManyAttempts          the attempt comes after the last that an order may have
    │   ├── OrderUnknown             the order is not in the ledger
    │   ├── NotResumable             the order cannot be retried from FINALIZING
    │   ├── IllegalTransition        the state table does not allow the transition
    │   ├── EntryUnreadable          the order's item in the ledger is damaged, or another version wrote it
    │   ├── ResultUnreadable         an execution succeeded, and its result is not the orchestrator's
    │   ├── LedgerRejected           DynamoDB refused the request permanently (validation, size)
    │   ├── EnrichmentRejected       the enricher's answer cannot be used
    │   ├── TooManyStarts            enrich began too often: it kills its process each time
    │   └── WaitDoesNotFit           the wait does not fit into the execution timeout
    └── TransientError               retried by a named policy or by the queue
        ├── LedgerUnavailable
        ├── EnricherUnavailable
        ├── StartUnavailable         Lambda cannot start the execution now
        ├── ExecutionUnavailable     Lambda cannot read or stop an execution now
        ├── RejectUnavailable        the rejected-orders queue cannot take the message now
        └── OperationsUnavailable    the operations table cannot be read or written now

A message never contains a value of the order, because it is logged.
"""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

FIELD_NAMES: Final = frozenset(
    {"orderId", "customerId", "items", "sku", "quantity", "unitPrice", "currency", "placedAt", "attributes"}
)
"""The names of an order's fields. All other names in a message are the producer's, and can be anything."""

_LINE_NUMBER: Final = re.compile(r"[0-9]{1,4}", re.ASCII)


class OrderError(Exception):
    """The base class of the pipeline's errors."""


class PermanentError(OrderError):
    """A retry cannot help."""


class TransientError(OrderError):
    """A later retry may help."""


@dataclass(frozen=True)
class FieldError:
    """One error in an order: the field (`items.0.quantity`, or empty for the whole order) and the reason.

    `hint` is for the producer alone and is never logged: it can repeat a value of the order.
    """

    field: str
    reason: str
    hint: str = dataclasses.field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}" if self.field else self.reason

    @property
    def logged_field(self) -> str:
        """The field as a log may contain it: a name that is not of an order's fields is `*`."""
        steps = self.field.split(".")
        return ".".join(
            step if not step or step in FIELD_NAMES or (before == "items" and _LINE_NUMBER.fullmatch(step)) else "*"
            for before, step in zip(["", *steps], steps, strict=False)
        )


class InvalidOrder(PermanentError):
    """The input is JSON but not an order. `errors` has the producer's names of fields, the message has none."""

    code: ClassVar[str] = "INVALID_ORDER"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(str(dataclasses.replace(error, field=error.logged_field)) for error in errors))

    def named(self) -> "InvalidOrder":
        """The same error with all names in its message: for the answer to the producer, never for a log."""
        error = type(self)(self.errors)
        error.args = ("; ".join(map(str, self.errors)),)
        return error


class NotJson(InvalidOrder):
    """The input is not JSON."""

    code: ClassVar[str] = "NOT_JSON"


class OrderTooLarge(InvalidOrder):
    """The order's text or its canonical form is larger than the limit."""

    code: ClassVar[str] = "TOO_LARGE"


class OrderConflict(PermanentError):
    """The order id is known with another body."""

    code: ClassVar[str] = "ORDER_CONFLICT"


class OrderInProgress(PermanentError):
    """Another execution owns the order and is still running it."""


class OrderEnded(PermanentError):
    """The order has ended, and this execution is not its next attempt."""


class OrderCancelled(PermanentError):
    """The order was cancelled."""


class OrderForgotten(PermanentError):
    """The order has ended and was forgotten: the ledger has only its states, times and digests."""


class TooManyAttempts(PermanentError):
    """The attempt comes after the last that an order may have."""


class OrderUnknown(PermanentError):
    """No order with this id is in the ledger."""


class NotResumable(PermanentError):
    """The order's next attempt cannot begin with finalize."""


class IllegalTransition(PermanentError):
    """The state table does not allow this transition from the order's current state."""


class EntryUnreadable(PermanentError):
    """An order's item is damaged, or a version wrote it that this one does not know. A person must correct it."""


class ResultUnreadable(PermanentError):
    """An execution succeeded, and its result does not have the response schema."""


class LedgerRejected(PermanentError):
    """DynamoDB refused the request permanently, or would refuse it: the item has no space for it."""


class EnrichmentRejected(PermanentError):
    """The enricher's answer cannot be used."""


class TooManyStarts(PermanentError):
    """The enrich step of one attempt began more often than allowed."""


class WaitDoesNotFit(PermanentError):
    """The configured wait does not fit into the configured execution timeout."""


class LedgerUnavailable(TransientError):
    """DynamoDB throttled, failed or did not answer, or its configuration is wrong at the moment."""


class EnricherUnavailable(TransientError):
    """The enricher did not answer, or its failure is transient.

    `calls` is how often this attempt of the order has called the enricher, this call included.
    """

    def __init__(self, message: str, calls: int = 1) -> None:
        self.calls = calls
        super().__init__(message)


class StartUnavailable(TransientError):
    """Lambda throttled the start, failed, or did not answer in time."""


class ExecutionUnavailable(TransientError):
    """Lambda throttled, refused, failed or did not answer a read or a stop of an execution."""


class RejectUnavailable(TransientError):
    """SQS did not take the rejected message."""


class OperationsUnavailable(TransientError):
    """DynamoDB throttled, refused or did not answer a request about the operations table."""


# The errors of an execution that does not own the order: the ledger stays unchanged.
REFUSALS: tuple[type[PermanentError], ...] = (
    OrderConflict,
    OrderInProgress,
    OrderEnded,
    OrderCancelled,
    OrderForgotten,
    TooManyAttempts,
)

_RESTORABLE: dict[str, type[OrderError]] = {
    f"{cls.__module__}.{cls.__qualname__}": cls
    for cls in (
        *REFUSALS,
        OrderUnknown,
        IllegalTransition,
        EntryUnreadable,
        LedgerRejected,
        EnrichmentRejected,
        TooManyStarts,
        LedgerUnavailable,
        EnricherUnavailable,
    )
}

# Lower-case module names, then a class: `Runtime.ExitError`, a type of Lambda's own, is left as it is.
_QUALIFIED_CLASS = re.compile(r"(?:[a-z_][a-z0-9_]*\.)+([A-Z]\w*)", re.ASCII)


def restored(error_type: str, message: str) -> OrderError | None:
    """The error of this module that a durable step failed with, or None when it is another error.

    The durable SDK stores only the qualified class name and the message of the error that a step raised.
    """
    cls = _RESTORABLE.get(error_type)
    return cls(message) if cls else None


def bare_class_name(error_type: str) -> str:
    """An error's type as the ledger and the logs have it: the class name without its modules. Other texts unchanged."""
    match = _QUALIFIED_CLASS.fullmatch(error_type)
    return match[1] if match else error_type
