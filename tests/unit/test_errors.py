"""The tree of errors: which are retried, and which a durable step restores."""

import re

import pytest
from aws_durable_execution_sdk_python.lambda_service import ErrorObject

from shared import errors
from shared.errors import (
    REFUSALS,
    EnricherUnavailable,
    EnrichmentRejected,
    FieldError,
    IllegalTransition,
    InvalidOrder,
    LedgerRejected,
    LedgerUnavailable,
    NotJson,
    OrderCancelled,
    OrderConflict,
    OrderEnded,
    OrderError,
    OrderForgotten,
    OrderInProgress,
    OrderTooLarge,
    OrderUnknown,
    PermanentError,
    TooManyAttempts,
    TooManyStarts,
    TransientError,
    bare_class_name,
    restored,
)

# What `orchestrator.steps` can raise: by the ledger, and by the enricher's client.
IN_STEPS = [
    TooManyAttempts,
    OrderConflict,
    OrderInProgress,
    OrderEnded,
    OrderForgotten,
    OrderCancelled,
    OrderUnknown,
    IllegalTransition,
    TooManyStarts,
    LedgerUnavailable,
    LedgerRejected,
    EnricherUnavailable,
    EnrichmentRejected,
]


def classes():
    return {cls.__name__: cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, OrderError)}


def drawn_parents():
    """Each class's parent in the tree of the module's docstring."""
    parents, above = {}, {}
    for line in errors.__doc__.splitlines():
        found = re.match(r"^    ([ │├└─]*)([A-Z]\w+)", line)
        if found:
            depth = len(found[1]) // 4
            parents[found[2]] = above.get(depth - 1)
            above[depth] = found[2]
    return parents


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    known = {name: cls.__base__.__name__ if cls is not OrderError else None for name, cls in classes().items()}
    assert drawn_parents() == known


def test_an_error_is_either_permanent_or_transient():
    for cls in classes().values():
        if cls not in (OrderError, PermanentError, TransientError):
            assert issubclass(cls, PermanentError) != issubclass(cls, TransientError), cls


@pytest.mark.parametrize("cls", IN_STEPS)
def test_an_error_of_a_step_is_restored_from_what_the_sdk_stores(cls):
    raised = cls("order A is WAITING (attempt 1, arn:me)")
    kept = ErrorObject.from_exception(raised)
    again = restored(kept.type, kept.message)
    assert type(again) is cls
    assert str(again) == str(raised)


@pytest.mark.parametrize(
    "error_type",
    [
        "",
        "ValueError",
        "OrderConflict",
        "shared.errors.OrderError",
        "shared.errors.Unknown",
        "other.errors.OrderConflict",
    ],
)
def test_only_the_pipelines_errors_are_restored(error_type):
    assert restored(error_type, "message") is None


@pytest.mark.parametrize(
    ("error_type", "bare"),
    [
        ("shared.errors.OrderConflict", "OrderConflict"),
        ("json.decoder.JSONDecodeError", "JSONDecodeError"),
        ("OrderConflict", "OrderConflict"),
        ("Runtime.ExitError", "Runtime.ExitError"),
        ("ops.maintenance", "ops.maintenance"),
        ("stopped for v1.Two", "stopped for v1.Two"),
        ("", ""),
    ],
)
def test_an_error_type_is_the_class_name_without_its_modules(error_type, bare):
    assert bare_class_name(error_type) == bare


def test_a_refusal_leaves_the_ledger_as_it_is():
    without_last = {OrderConflict, OrderInProgress, OrderEnded, OrderCancelled, OrderForgotten}
    assert set(REFUSALS) == {*without_last, TooManyAttempts}


@pytest.mark.parametrize(
    ("cls", "code"),
    [
        (NotJson, "NOT_JSON"),
        (InvalidOrder, "INVALID_ORDER"),
        (OrderTooLarge, "TOO_LARGE"),
        (OrderConflict, "ORDER_CONFLICT"),
    ],
)
def test_a_reason_code_keeps_its_name(cls, code):
    """Consumers of the rejected-orders queue rely on it."""
    assert cls.code == code


def test_an_invalid_order_names_every_field_and_reason():
    error = InvalidOrder([FieldError("orderId", "Field required"), FieldError("", "not JSON")])
    assert str(error) == "orderId: Field required; not JSON"


def test_an_unavailable_enricher_has_the_number_of_its_calls():
    assert EnricherUnavailable("busy", 3).calls == 3
    assert EnricherUnavailable("busy").calls == 1
