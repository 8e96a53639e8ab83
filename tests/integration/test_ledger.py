"""The ledger's conditions, on moto's DynamoDB with the template's table."""

import itertools

import pytest

from shared.errors import (
    IllegalTransition,
    LedgerRejected,
    LedgerUnavailable,
    OrderCancelled,
    OrderConflict,
    OrderEnded,
    OrderInProgress,
    OrderUnknown,
    TooManyStarts,
)
from shared.executions.names import OrderExecution
from shared.ledger.entry import state_shard, state_shards
from shared.ledger.owner import MAX_STARTS, AlreadyCompleted, Claimed, Ledger
from shared.ledger.states import TERMINAL, TRANSITIONS, State
from shared.ledger.table import LedgerWriter
from shared.orders.order import parse_order

ORDER = parse_order('{"orderId": "ORDER-1", "customerId": "CUST-1", "attributes": {"channel": "web"}}')
CORRECTED = parse_order('{"orderId": "ORDER-1", "attributes": {"channel": "phone"}}')
ENRICHMENT = {"statusCode": 200, "orderId": "ORDER-1", "enrichedData": {"customerId": "CUST-1"}}
RESULT = {"finalizedAt": "2026-01-01T00:00:00.000Z", "processedAt": "2026-01-01T00:00:00.001Z"}
ME = OrderExecution("ORDER-1", "arn:first", 1, named=True)
OTHER = OrderExecution("ORDER-1", "arn:other", 1, named=True)
RETRY = OrderExecution("ORDER-1", "arn:second", 2, named=True)


def force(dynamodb, state):
    """Put the order into a state, whatever its state before, as an operator or the reconciler would."""
    entry = {"M": {"state": {"S": state}, "at": {"S": "2026-01-01T00:00:00.000Z"}, "attempt": {"N": "1"}}}
    dynamodb.update_item(
        TableName="LedgerTable",
        Key={"orderId": {"S": "ORDER-1"}},
        UpdateExpression="SET #s = :s, stateShard = :k, history = list_append(history, :h), version = version + :one",
        ExpressionAttributeNames={"#s": "state"},
        ExpressionAttributeValues={
            ":s": {"S": state},
            ":k": {"S": state_shard(state, "ORDER-1")},
            ":h": {"L": [entry]},
            ":one": {"N": "1"},
        },
    )


def complete(ledger, me=ME, order=ORDER):
    Ledger(ledger).claim(order, me)
    Ledger(ledger).enriched(me, ENRICHMENT)
    Ledger(ledger).finalizing(me)
    Ledger(ledger).completed(me, RESULT)


def states(ledger):
    return [step.state for step in ledger.get("ORDER-1").history]


def unchanged(ledger):
    """A check that every field of the item is as it is now."""
    before = ledger.get("ORDER-1")

    def check():
        assert ledger.get("ORDER-1") == before

    return check


def test_an_order_passes_through_every_state_and_its_version_counts_them(ledger):
    complete(ledger)
    entry = ledger.get("ORDER-1")
    assert states(ledger) == ["RECEIVED", "ENRICHING", "ENRICHED", "WAITING", "FINALIZING", "COMPLETED"]
    assert entry.version == len(entry.history) == 6
    assert (entry.state, entry.attempt, entry.execution_arn) == (State.COMPLETED, 1, "arn:first")
    assert (entry.enrichment, entry.result, entry.order) == (ENRICHMENT, RESULT, ORDER.canonical())
    assert entry.history[0].execution_arn == "arn:first"


def test_an_order_that_meets_no_fault_costs_four_writes_and_no_read(ledger, dynamodb):
    calls = []
    dynamodb.meta.events.register("before-call.dynamodb.*", lambda model, **_: calls.append(model.name))
    complete(ledger)
    assert calls == ["UpdateItem"] * 4


def test_a_repeated_write_is_success_and_changes_nothing(ledger):
    complete(ledger)
    check = unchanged(ledger)
    assert Ledger(ledger).enriched(ME, {"another": "answer"}) == ENRICHMENT
    Ledger(ledger).finalizing(ME)
    assert Ledger(ledger).completed(ME, {"another": "time"}) == RESULT
    check()


def test_an_enrich_step_that_begins_again_owns_the_order_and_is_counted(ledger):
    assert Ledger(ledger).claim(ORDER, ME) == Claimed(starts=1)
    assert Ledger(ledger).claim(ORDER, ME) == Claimed(starts=2)
    assert states(ledger) == ["RECEIVED", "ENRICHING"]
    assert ledger.get("ORDER-1").starts == 2


def test_two_processes_of_one_execution_that_count_a_start_at_once_are_both_counted(ledger, kept):
    Ledger(ledger).claim(ORDER, ME)
    waiting = kept.before_write(lambda: None, lambda: Ledger(ledger).claim(ORDER, ME))
    assert Ledger(ledger).claim(ORDER, ME) == Claimed(starts=3)
    assert waiting == []
    assert ledger.get("ORDER-1").starts == 3


def test_a_cancel_between_the_refused_claim_and_the_counted_start_ends_the_claim(ledger, dynamodb, kept):
    Ledger(ledger).claim(ORDER, ME)
    waiting = kept.before_write(lambda: None, lambda: force(dynamodb, "CANCELLED"))
    with pytest.raises(OrderCancelled):
        Ledger(ledger).claim(ORDER, ME)
    assert waiting == []
    assert ledger.get("ORDER-1").starts == 1


def test_a_step_whose_process_dies_each_time_has_a_limit_of_starts(ledger):
    for _ in range(MAX_STARTS):
        Ledger(ledger).claim(ORDER, ME)
    with pytest.raises(TooManyStarts, match=f"{MAX_STARTS} times in attempt 1"):
        Ledger(ledger).claim(ORDER, ME)


def test_a_recorded_enrichment_is_used_instead_of_a_new_call(ledger):
    Ledger(ledger).claim(ORDER, ME)
    Ledger(ledger).enriched(ME, ENRICHMENT)
    assert Ledger(ledger).claim(ORDER, ME) == Claimed(starts=1, enrichment=ENRICHMENT)


def test_an_order_owned_by_another_execution_is_refused_with_its_arn(ledger):
    Ledger(ledger).claim(ORDER, ME)
    check = unchanged(ledger)
    with pytest.raises(OrderInProgress, match=r"ENRICHING \(attempt 1, arn:first\)"):
        Ledger(ledger).claim(ORDER, OTHER)
    check()


def test_a_completed_order_returns_its_recorded_result(ledger):
    complete(ledger)
    check = unchanged(ledger)
    assert Ledger(ledger).claim(ORDER, OTHER) == AlreadyCompleted(ENRICHMENT, RESULT)
    check()


@pytest.mark.parametrize("completed", [True, False], ids=["completed", "running"])
def test_another_body_under_a_known_id_is_a_conflict(ledger, completed):
    complete(ledger) if completed else Ledger(ledger).claim(ORDER, ME)
    check = unchanged(ledger)
    with pytest.raises(OrderConflict, match=r"arn:first: customerId, attributes\.\*; it is"):
        Ledger(ledger).claim(CORRECTED, OTHER)
    check()


@pytest.mark.parametrize("end", ["FAILED", "TIMED_OUT", "STOPPED"])
def test_the_next_attempt_begins_an_ended_order_even_with_another_body(ledger, dynamodb, end):
    Ledger(ledger).claim(ORDER, ME)
    Ledger(ledger).enriched(ME, ENRICHMENT)
    force(dynamodb, end)
    assert Ledger(ledger).claim(CORRECTED, RETRY) == Claimed(starts=1)
    entry = ledger.get("ORDER-1")
    assert (entry.state, entry.attempt, entry.execution_arn) == (State.ENRICHING, 2, "arn:second")
    assert (entry.order, entry.order_digest) == (CORRECTED.canonical(), CORRECTED.digest())
    assert (entry.enrichment, entry.result, entry.error) == (None, None, None)
    assert entry.version == len(entry.history)
    assert "customerId" not in dynamodb.get_item(TableName="LedgerTable", Key={"orderId": {"S": "ORDER-1"}})["Item"]


@pytest.mark.parametrize(
    "late",
    [
        OrderExecution("ORDER-1", "arn:late", 1, named=True),
        OrderExecution("ORDER-1", "arn:late", 3, named=True),
        OrderExecution("ORDER-1", "arn:late", 2, named=False),
        OrderExecution("ORDER-1", "arn:late"),
    ],
    ids=["an old name", "a name too far", "no name that says 2", "a direct invoke"],
)
def test_only_the_next_attempts_name_may_begin_a_failed_order_again(ledger, late):
    Ledger(ledger).claim(ORDER, ME)
    Ledger(ledger).failed(ME, "Broken", "it broke")
    check = unchanged(ledger)
    with pytest.raises(OrderEnded, match=r"FAILED \(attempt 1"):
        Ledger(ledger).claim(ORDER, late)
    check()


def test_a_process_of_the_attempt_before_cannot_write_into_the_next(ledger):
    Ledger(ledger).claim(ORDER, ME)
    Ledger(ledger).failed(ME, "Broken", "it broke")
    Ledger(ledger).claim(ORDER, RETRY)
    check = unchanged(ledger)
    for write in (
        lambda: Ledger(ledger).claim(ORDER, ME),
        lambda: Ledger(ledger).enriched(ME, ENRICHMENT),
        lambda: Ledger(ledger).finalizing(ME),
        lambda: Ledger(ledger).completed(ME, RESULT),
        lambda: Ledger(ledger).failed(ME, "Broken", "again"),
    ):
        with pytest.raises(OrderInProgress, match="arn:second"):
            write()
    check()


def test_when_two_retries_race_one_begins_and_the_other_is_refused(ledger, dynamodb):
    Ledger(ledger).claim(ORDER, ME)
    Ledger(ledger).failed(ME, "Broken", "it broke")
    rival = OrderExecution("ORDER-1", "arn:rival", 2, named=True)
    raced = []

    def let_the_rival_in(model, **_):
        # Between the read of the failed item and the write after it.
        if model.name == "UpdateItem" and len(raced) < 2:
            raced.append(model.name)
            if len(raced) == 2:
                Ledger(LedgerWriter(dynamodb, "LedgerTable")).claim(ORDER, rival)

    dynamodb.meta.events.register("before-call.dynamodb.*", let_the_rival_in)
    with pytest.raises(OrderInProgress, match="arn:rival"):
        Ledger(ledger).claim(ORDER, RETRY)
    assert len(raced) == 2
    assert ledger.get("ORDER-1").execution_arn == "arn:rival"


def test_a_cancelled_order_accepts_no_further_write(ledger, dynamodb):
    Ledger(ledger).claim(ORDER, ME)
    Ledger(ledger).enriched(ME, ENRICHMENT)
    force(dynamodb, "CANCELLED")
    check = unchanged(ledger)
    with pytest.raises(OrderCancelled):
        Ledger(ledger).finalizing(ME)
    with pytest.raises(OrderCancelled):
        Ledger(ledger).claim(ORDER, ME)
    with pytest.raises(OrderCancelled):
        Ledger(ledger).failed(ME, "Broken", "late")
    with pytest.raises(OrderCancelled):
        Ledger(ledger).enriched(ME, ENRICHMENT)  # in the history, but undone
    check()


def test_a_failure_keeps_its_type_and_message_and_may_be_recorded_twice(ledger):
    Ledger(ledger).claim(ORDER, ME)
    Ledger(ledger).failed(ME, "EnrichmentRejected", "no such thing")
    check = unchanged(ledger)
    Ledger(ledger).failed(ME, "EnrichmentRejected", "no such thing")
    check()
    entry = ledger.get("ORDER-1")
    assert entry.error == {"type": "EnrichmentRejected", "message": "no such thing"}
    assert entry.history[-1].detail == "EnrichmentRejected: no such thing"


def test_a_failure_has_the_class_name_of_its_error_without_the_modules(ledger):
    Ledger(ledger).claim(ORDER, ME)
    Ledger(ledger).failed(ME, "json.decoder.JSONDecodeError", "no JSON")
    entry = ledger.get("ORDER-1")
    assert entry.error == {"type": "JSONDecodeError", "message": "no JSON"}
    assert entry.history[-1].detail == "JSONDecodeError: no JSON"


WRITES = {
    State.WAITING: lambda ledger: Ledger(ledger).enriched(ME, ENRICHMENT),
    State.FINALIZING: lambda ledger: Ledger(ledger).finalizing(ME),
    State.COMPLETED: lambda ledger: Ledger(ledger).completed(ME, RESULT),
    State.FAILED: lambda ledger: Ledger(ledger).failed(ME, "Broken", "it broke"),
}


@pytest.mark.parametrize(("before", "target"), list(itertools.product(State, WRITES)))
def test_a_write_is_accepted_only_from_the_states_that_the_table_allows(ledger, dynamodb, before, target):
    Ledger(ledger).claim(ORDER, ME)
    force(dynamodb, before)
    first = State.ENRICHED if target is State.WAITING else target
    if first in TRANSITIONS[before]:
        WRITES[target](ledger)
        assert ledger.get("ORDER-1").state is target
        return
    check = unchanged(ledger)
    if before is target:
        WRITES[target](ledger)
    else:
        refused = (
            OrderCancelled if before is State.CANCELLED else OrderEnded if before in TERMINAL else IllegalTransition
        )
        with pytest.raises(refused):
            WRITES[target](ledger)
    check()


def test_a_write_for_an_unknown_order_is_refused(ledger):
    with pytest.raises(OrderUnknown, match="not in the ledger"):
        Ledger(ledger).finalizing(ME)
    assert ledger.get("ORDER-1") is None


def ids_in_state(ledger, *selection, **limits):
    return [order_id for _, order_id in ledger.in_state(*selection, **limits)]


def test_orders_in_a_state_are_listed_least_recently_updated_first(ledger, dynamodb):
    queries = []
    dynamodb.meta.events.register("before-parameter-build.dynamodb.Query", lambda params, **_: queries.append(params))
    for number in range(20):
        Ledger(ledger).claim(
            parse_order(f'{{"orderId": "ORDER-{number}"}}'), OrderExecution(f"ORDER-{number}", f"arn:{number}")
        )
    Ledger(ledger).enriched(OrderExecution("ORDER-3", "arn:3"), ENRICHMENT)
    expected = [f"ORDER-{number}" for number in range(20) if number != 3]
    assert ids_in_state(ledger, State.ENRICHING) == expected
    assert ids_in_state(ledger, State.ENRICHING, limit=5) == expected[:5]
    assert queries[-1]["Limit"] == 5
    queries.clear()
    assert ids_in_state(ledger, State.ENRICHING, limit=1) == expected[:1]
    assert len(queries) == len(state_shards(State.ENRICHING)), "a page of a shard is enough"
    assert ids_in_state(ledger, State.WAITING) == ["ORDER-3"]


def test_orders_updated_at_or_after_a_moment_are_not_listed(ledger):
    Ledger(ledger).claim(ORDER, ME)
    updated_at = ledger.get("ORDER-1").updated_at
    assert ids_in_state(ledger, State.ENRICHING, updated_before=updated_at) == []
    assert ids_in_state(ledger, State.ENRICHING, updated_before=updated_at + "0") == ["ORDER-1"]


def test_an_order_is_read_consistently(ledger, dynamodb):
    """The reconciler must see the claim of an execution that has just ended."""
    requests = []
    dynamodb.meta.events.register("provide-client-params.dynamodb.GetItem", lambda params, **_: requests.append(params))
    ledger.get("ORDER-1")
    assert [request.get("ConsistentRead") for request in requests] == [True]


def test_the_index_spreads_a_state_over_all_its_shards(ledger, dynamodb):
    for number in range(50):
        Ledger(ledger).claim(
            parse_order(f'{{"orderId": "ORDER-{number}"}}'), OrderExecution(f"ORDER-{number}", f"arn:{number}")
        )
    found = dynamodb.scan(TableName="LedgerTable", IndexName="OrdersIndex")["Items"]
    assert {item["stateShard"]["S"] for item in found} == set(state_shards(State.ENRICHING))
    assert all(set(item) == {"orderId", "stateShard", "updatedAt", "attempt"} for item in found)


def test_a_plain_reader_of_the_table_sees_no_encoded_blob(ledger, dynamodb):
    complete(ledger)
    item = dynamodb.get_item(TableName="LedgerTable", Key={"orderId": {"S": "ORDER-1"}})["Item"]
    assert item["order"] == {
        "M": {
            "orderId": {"S": "ORDER-1"},
            "customerId": {"S": "CUST-1"},
            "attributes": {"M": {"channel": {"S": "web"}}},
        }
    }
    assert item["customerId"] == {"S": "CUST-1"}
    assert item["history"]["L"][0]["M"]["state"] == {"S": "RECEIVED"}


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ProvisionedThroughputExceededException", 400, LedgerUnavailable),
        ("ThrottlingException", 400, LedgerUnavailable),
        ("RequestLimitExceeded", 400, LedgerUnavailable),
        ("InternalServerError", 500, LedgerUnavailable),
        ("ServiceUnavailable", 503, LedgerUnavailable),
        ("AccessDeniedException", 400, LedgerUnavailable),
        ("ResourceNotFoundException", 400, LedgerUnavailable),
        ("ExpiredTokenException", 400, LedgerUnavailable),
        ("ValidationException", 400, LedgerRejected),
    ],
)
def test_dynamodbs_errors_are_raised_as_ledger_errors(ledger, dynamodb, code, status, expected):
    dynamodb.meta.events.register(
        "before-call.dynamodb.UpdateItem",
        lambda **_: (
            _Response(status),
            {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}},
        ),
    )
    with pytest.raises(expected, match=code):
        Ledger(ledger).claim(ORDER, ME)


class _Response:
    def __init__(self, status):
        self.status_code = status
