"""`settle` makes the ledger agree with an execution that has ended: every case, every race, every field."""

import json
from dataclasses import replace

import pytest

from orchestrator.result import order_result
from shared.errors import OrderUnknown, ResultUnreadable
from shared.executions.names import MAX_ATTEMPT, OrderExecution
from shared.ledger.entry import MAX_TEXT_BYTES, Completion, End, kept_text, state_shard
from shared.ledger.owner import Ledger
from shared.ledger.settlement import (
    MAX_CONFLICTS,
    Settlement,
    completion_of,
    end_attempt,
    note_conflict,
    note_status,
    settle,
)
from shared.ledger.states import RETRYABLE, TERMINAL, State
from shared.ledger.table import Refused, Written, unchanged
from shared.orders.order import parse_order
from tests.integration.executions import ENRICHMENT, FINALIZATION
from tests.integration.orders import ORDER, OTHER_BODY, OWNER, PATH, RETRY

OTHER = OrderExecution("ORDER-1", "arn:other")
COMPLETION = Completion(ENRICHMENT, FINALIZATION)
OPEN = [state for state in State if state not in TERMINAL]
ENDS = [End(state, f"Execution{state}", f"it is {state}") for state in sorted(RETRYABLE)]
STOPPED = next(end for end in ENDS if end.state is State.STOPPED)
FAILED = next(end for end in ENDS if end.state is State.FAILED)


def state_of(end):
    return end.state.value if isinstance(end, End) else str(end)


def end_of(end):
    return {"type": end.error_type, "message": end.message}


# ── 1. no item ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("end", ENDS, ids=state_of)
@pytest.mark.parametrize("attempt", [1, 3])
def test_an_order_whose_execution_died_before_its_first_write_is_made_from_its_input(ledger, kept, end, attempt):
    assert settle(ledger, ORDER, replace(OWNER, attempt=attempt), end) is Settlement.RECORDED
    at = "2026-01-01T00:00:00.000Z"
    assert kept.item() == {
        "orderId": "ORDER-1",
        "state": end.state,
        "stateShard": state_shard(end.state, "ORDER-1"),
        "updatedAt": at,
        "attempt": attempt,
        "version": 2,
        "executionArn": "arn:first",
        "history": [
            {"state": "RECEIVED", "at": at, "attempt": attempt, "executionArn": "arn:first"},
            {"state": end.state, "at": at, "attempt": attempt, "detail": f"Execution{end.state}: it is {end.state}"},
        ],
        "order": ORDER.canonical(),
        "orderDigest": ORDER.digest(),
        "customerId": "CUST-1",
        "enrichStarts": 0,
        "error": end_of(end),
        "errorType": end.error_type,
    }


def test_an_order_made_from_an_executions_input_can_be_retried_like_any_other(ledger):
    settle(ledger, ORDER, OWNER, FAILED)
    assert Ledger(ledger).claim(ORDER, RETRY).starts == 1
    entry = ledger.get("ORDER-1")
    assert [step.state for step in entry.history] == ["RECEIVED", "FAILED", "RECEIVED", "ENRICHING"]
    assert (entry.attempt, entry.error) == (2, None)


# ── 2. the owner ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("end", ENDS, ids=state_of)
@pytest.mark.parametrize("state", OPEN)
def test_an_order_that_has_not_ended_gets_its_owners_end(ledger, kept, state, end):
    kept.put_in(state)
    before = kept.item()
    assert settle(ledger, ORDER, OWNER, end) is Settlement.RECORDED
    after = kept.item()
    step = {"state": end.state, "at": after["updatedAt"], "attempt": 1, "detail": f"{end.error_type}: {end.message}"}
    assert after == before | {
        "state": end.state,
        "stateShard": state_shard(end.state, "ORDER-1"),
        "updatedAt": after["updatedAt"],
        "version": before["version"] + 1,
        "history": [*before["history"], step],
        "error": end_of(end),
        "errorType": end.error_type,
    }
    assert after["updatedAt"] > before["updatedAt"]


@pytest.mark.parametrize("end", ENDS, ids=state_of)
@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_an_ended_order_keeps_its_end_and_notes_a_different_status(ledger, kept, state, end):
    kept.put_in(state)
    before = kept.item()
    assert settle(ledger, ORDER, OWNER, end) is Settlement.AGREED
    assert kept.item() == before | ({} if state == end.state else {"executionStatus": end.state})


def test_the_status_of_an_ended_owner_is_noted_once(ledger, dynamodb, kept):
    kept.put_in(State.COMPLETED)
    writes = []
    dynamodb.meta.events.register("before-call.dynamodb.UpdateItem", lambda **_: writes.append(1))
    for _ in range(3):
        settle(ledger, ORDER, OWNER, STOPPED)
    assert len(writes) == 1


def test_a_retry_removes_the_status_of_the_owner_before_it(ledger, kept):
    kept.put_in(State.FAILED)
    settle(ledger, ORDER, OWNER, STOPPED)
    assert kept.item()["executionStatus"] == "STOPPED"
    Ledger(ledger).claim(ORDER, RETRY)
    assert "executionStatus" not in kept.item()


def test_the_status_of_an_owner_that_a_retry_has_replaced_meanwhile_is_not_noted(ledger, kept):
    entry = kept.put_in(State.FAILED)
    kept.before_write(lambda: Ledger(ledger).claim(ORDER, RETRY))
    note_status(ledger, entry, "STOPPED")
    after = kept.item()
    assert (after["executionArn"], after["state"]) == ("arn:second", "ENRICHING")
    assert "executionStatus" not in after


# ── 3. the owner of an earlier attempt ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("body", [ORDER, OTHER_BODY], ids=["the same body", "a corrected one"])
def test_an_execution_that_owned_an_earlier_attempt_changes_nothing(ledger, kept, state, body):
    failed = kept.put_in(State.FAILED)
    kept.put_in(state, order=body, owner=RETRY, after=failed)
    before = kept.item()
    assert settle(ledger, ORDER, OWNER, STOPPED) is Settlement.AGREED
    assert kept.item() == before


# ── 4. a retry that died before its first write ───────────────────────────────────────────────────


@pytest.mark.parametrize("end", ENDS, ids=state_of)
@pytest.mark.parametrize("state", sorted(RETRYABLE))
def test_a_retry_that_died_before_its_first_write_is_the_next_attempt_and_has_ended(ledger, kept, state, end):
    kept.put_in(state)
    settle(ledger, ORDER, OWNER, STOPPED)
    note_conflict(ledger, "ORDER-1", "arn:conflict")
    before = kept.item()
    assert settle(ledger, ORDER, RETRY, end) is Settlement.RECORDED
    after = kept.item()
    at = after["updatedAt"]
    expected = before | {
        "state": end.state,
        "stateShard": state_shard(end.state, "ORDER-1"),
        "updatedAt": at,
        "attempt": 2,
        "version": before["version"] + 2,
        "executionArn": "arn:second",
        "history": [
            *before["history"],
            {"state": "RECEIVED", "at": at, "attempt": 2, "detail": "retried", "executionArn": "arn:second"},
            {"state": end.state, "at": at, "attempt": 2, "detail": f"{end.error_type}: {end.message}"},
        ],
        "enrichStarts": 0,
        "error": end_of(end),
        "errorType": end.error_type,
    }
    del expected["enrichment"]
    expected.pop("executionStatus", None)
    assert after == expected


@pytest.mark.parametrize("by", ["claim", "settle"])
def test_the_history_names_the_fields_in_which_a_corrected_retry_differs(ledger, kept, by):
    kept.put_in(State.FAILED)
    Ledger(ledger).claim(OTHER_BODY, RETRY) if by == "claim" else settle(ledger, OTHER_BODY, RETRY, FAILED)
    entry = ledger.get("ORDER-1")
    first = next(step for step in entry.history if step.attempt == 2)
    assert first.detail == "retried, corrected: attributes, currency, customerId"
    assert (entry.order, entry.order_digest) == (OTHER_BODY.canonical(), OTHER_BODY.digest())


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
def test_no_other_execution_counts_as_a_retry(ledger, kept, late):
    kept.put_in(State.FAILED)
    before = kept.item()
    assert settle(ledger, ORDER, late, STOPPED) is Settlement.AGREED
    assert kept.item() == before


@pytest.mark.parametrize("state", [state for state in State if state not in RETRYABLE])
def test_the_next_attempts_name_changes_no_order_that_cannot_be_retried(ledger, kept, state):
    kept.put_in(state)
    before = kept.item()
    assert settle(ledger, ORDER, RETRY, FAILED) is Settlement.AGREED
    assert kept.item() == before


# ── 5. another body ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", list(State))
def test_another_body_is_a_conflict_until_it_is_noted_and_the_order_is_unchanged(ledger, kept, state):
    kept.put_in(state)
    before = kept.item()
    assert settle(ledger, OTHER_BODY, OTHER, FAILED) is Settlement.CONFLICT
    assert kept.item() == before
    note_conflict(ledger, "ORDER-1", OTHER.arn)
    noted = kept.item()
    assert noted == before | {"conflicts": [{"executionArn": "arn:other", "at": noted["conflicts"][0]["at"]}]}
    assert settle(ledger, OTHER_BODY, OTHER, FAILED) is Settlement.AGREED
    assert kept.item() == noted


@pytest.mark.parametrize("state", list(State))
def test_the_same_body_of_another_execution_is_no_conflict_and_changes_nothing(ledger, kept, state):
    kept.put_in(state)
    before = kept.item()
    assert settle(ledger, ORDER, OTHER, FAILED) is Settlement.AGREED
    assert kept.item() == before


def test_a_conflict_is_noted_once_with_others_noted_at_the_same_time(ledger, kept):
    kept.put_in(State.WAITING)
    note_conflict(ledger, "ORDER-1", "arn:1")
    note_conflict(ledger, "ORDER-1", "arn:1")
    kept.before_write(
        lambda: note_conflict(ledger, "ORDER-1", "arn:2"), lambda: note_conflict(ledger, "ORDER-1", "arn:3")
    )
    note_conflict(ledger, "ORDER-1", "arn:4")
    kept.before_write(lambda: note_conflict(ledger, "ORDER-1", "arn:5"))
    note_conflict(ledger, "ORDER-1", "arn:5")
    noted = [conflict["executionArn"] for conflict in ledger.get("ORDER-1").conflicts]
    assert noted == ["arn:1", "arn:2", "arn:3", "arn:4", "arn:5"]


def test_the_first_conflict_of_an_order_is_noted_by_one_of_two_that_race(ledger, kept):
    kept.put_in(State.WAITING)
    kept.before_write(lambda: note_conflict(ledger, "ORDER-1", "arn:2"))
    note_conflict(ledger, "ORDER-1", "arn:1")
    assert [conflict["executionArn"] for conflict in ledger.get("ORDER-1").conflicts] == ["arn:2", "arn:1"]


@pytest.mark.slow
def test_an_item_notes_a_hundred_conflicts_and_reports_the_next(ledger, kept):
    """If it were still a conflict, every sweep would reject it again."""
    kept.put_in(State.WAITING)
    for number in range(MAX_CONFLICTS - 1):
        note_conflict(ledger, "ORDER-1", f"arn:{number}")
    assert settle(ledger, OTHER_BODY, OTHER, FAILED) is Settlement.CONFLICT
    note_conflict(ledger, "ORDER-1", OTHER.arn)
    full = kept.item()
    assert len(full["conflicts"]) == MAX_CONFLICTS
    assert settle(ledger, OTHER_BODY, OTHER, FAILED) is Settlement.AGREED
    assert settle(ledger, OTHER_BODY, OrderExecution("ORDER-1", "arn:late"), FAILED) is Settlement.TOO_MANY_CONFLICTS
    note_conflict(ledger, "ORDER-1", "arn:late")
    assert kept.item() == full


def test_a_conflict_of_an_unknown_order_is_not_noted(ledger, kept):
    note_conflict(ledger, "ORDER-1", "arn:1")
    assert kept.item() is None


# ── repeats and races ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("state", "execution", "body"),
    [
        (None, OWNER, ORDER),
        (State.WAITING, OWNER, ORDER),
        (State.COMPLETED, OWNER, ORDER),
        (State.FAILED, RETRY, ORDER),
        (State.FAILED, RETRY, OTHER_BODY),
        (State.WAITING, OTHER, OTHER_BODY),
        (State.WAITING, OTHER, ORDER),
    ],
    ids=["no item", "owner", "owner, ended", "retry", "corrected retry", "conflict", "the same order"],
)
def test_settling_again_changes_nothing(ledger, kept, state, execution, body):
    if state:
        kept.put_in(state)
    settle(ledger, body, execution, FAILED)
    before = kept.item()
    for _ in range(3):
        assert settle(ledger, body, execution, FAILED) is not Settlement.RECORDED
    assert kept.item() == before


def test_an_owner_that_writes_meanwhile_is_ended_from_its_new_state(ledger, kept):
    kept.put_in(State.ENRICHING)
    acts = kept.before_write(
        lambda: Ledger(ledger).enriched(OWNER, {"statusCode": 200}), lambda: Ledger(ledger).finalizing(OWNER)
    )
    assert settle(ledger, ORDER, OWNER, STOPPED) is Settlement.RECORDED
    assert acts == []
    after = kept.item()
    assert [step["state"] for step in after["history"]] == [*PATH[:5], "STOPPED"]
    assert after["version"] == 6


@pytest.mark.parametrize("ending", [State.COMPLETED, State.CANCELLED])
def test_an_order_that_ends_meanwhile_keeps_that_end(ledger, kept, ending):
    entry = kept.put_in(State.FINALIZING if ending is State.COMPLETED else State.WAITING)
    kept.before_write(lambda: ledger.move("ORDER-1", 1, (ending,), unchanged(entry)))
    assert settle(ledger, ORDER, OWNER, STOPPED) is Settlement.AGREED
    after = kept.item()
    assert (after["state"], after["executionStatus"], after["version"]) == (ending, "STOPPED", entry.version + 1)


def test_two_that_end_the_same_attempt_write_once(ledger, kept):
    kept.put_in(State.WAITING)
    kept.before_write(lambda: settle(ledger, ORDER, OWNER, STOPPED))
    assert settle(ledger, ORDER, OWNER, STOPPED) is Settlement.AGREED
    assert [step["state"] for step in kept.item()["history"]].count("STOPPED") == 1


def test_an_order_that_is_ended_and_retried_meanwhile_belongs_to_the_retry(ledger, kept):
    kept.put_in(State.WAITING)

    def end_and_retry():
        settle(ledger, ORDER, OWNER, STOPPED)
        Ledger(ledger).claim(ORDER, RETRY)

    kept.before_write(end_and_retry)
    assert settle(ledger, ORDER, OWNER, STOPPED) is Settlement.AGREED
    after = kept.item()
    assert (after["state"], after["executionArn"]) == ("ENRICHING", "arn:second")
    assert [step["state"] for step in after["history"]].count("STOPPED") == 1


def test_an_execution_that_claims_its_order_meanwhile_is_ended(ledger, kept):
    """Lambda has ended the execution, and the first write of its stalled process arrives late."""
    kept.before_write(lambda: Ledger(ledger).claim(ORDER, OWNER))
    assert settle(ledger, ORDER, OWNER, STOPPED) is Settlement.RECORDED
    assert [step["state"] for step in kept.item()["history"]] == ["RECEIVED", "ENRICHING", "STOPPED"]


def test_an_order_that_another_execution_claims_meanwhile_is_unchanged(ledger, kept):
    kept.before_write(lambda: Ledger(ledger).claim(OTHER_BODY, OTHER))
    assert settle(ledger, ORDER, OWNER, STOPPED) is Settlement.CONFLICT
    after = kept.item()
    assert (after["executionArn"], after["state"]) == ("arn:other", "ENRICHING")


def test_a_retry_that_claims_its_order_meanwhile_is_ended(ledger, kept):
    kept.put_in(State.FAILED)
    kept.before_write(lambda: Ledger(ledger).claim(ORDER, RETRY))
    assert settle(ledger, ORDER, RETRY, STOPPED) is Settlement.RECORDED
    after = kept.item()
    assert [(step["state"], step["attempt"]) for step in after["history"]][-3:] == [
        ("RECEIVED", 2),
        ("ENRICHING", 2),
        ("STOPPED", 2),
    ]


def test_two_that_record_the_same_dead_retry_write_once(ledger, kept):
    kept.put_in(State.FAILED)
    kept.before_write(lambda: settle(ledger, ORDER, RETRY, STOPPED))
    assert settle(ledger, ORDER, RETRY, STOPPED) is Settlement.AGREED
    assert [step["attempt"] for step in kept.item()["history"]].count(2) == 2


def test_an_item_deleted_meanwhile_is_an_error_and_created_the_next_time(ledger, kept, dynamodb):
    kept.put_in(State.WAITING)
    kept.before_write(lambda: dynamodb.delete_item(TableName="LedgerTable", Key={"orderId": {"S": "ORDER-1"}}))
    with pytest.raises(OrderUnknown, match="not in the ledger"):
        settle(ledger, ORDER, OWNER, STOPPED)
    assert settle(ledger, ORDER, OWNER, STOPPED) is Settlement.RECORDED
    assert [step["state"] for step in kept.item()["history"]] == ["RECEIVED", "STOPPED"]


def test_an_attempt_is_ended_from_an_outdated_entry(ledger, kept):
    """When an execution was deleted, only the entry that was read is left."""
    entry = kept.put_in(State.ENRICHING)
    kept.before_write(lambda: Ledger(ledger).enriched(OWNER, {"statusCode": 200}))
    assert end_attempt(ledger, entry, FAILED) == Written()
    assert kept.item()["state"] == "FAILED"


@pytest.mark.parametrize("meanwhile", ["ended", "retried"])
def test_an_attempt_that_ended_meanwhile_is_not_ended_again(ledger, kept, meanwhile):
    entry = kept.put_in(State.WAITING)

    def end():
        settle(ledger, ORDER, OWNER, STOPPED)
        if meanwhile == "retried":
            Ledger(ledger).claim(ORDER, RETRY)

    kept.before_write(end)
    outcome = end_attempt(ledger, entry, FAILED)
    assert outcome == Refused(ledger.get("ORDER-1"))
    assert [step["state"] for step in kept.item()["history"]].count("FAILED") == 0


# ── an execution that succeeded ─────────────────────────────────────────────────────────────────────


def test_a_completed_order_whose_item_is_gone_is_written_from_its_executions_result(ledger, kept):
    assert settle(ledger, ORDER, replace(OWNER, attempt=3), COMPLETION) is Settlement.RECORDED
    at = "2026-01-01T00:00:00.000Z"
    detail = "from the execution's result"
    assert kept.item() == {
        "orderId": "ORDER-1",
        "state": "COMPLETED",
        "stateShard": state_shard(State.COMPLETED, "ORDER-1"),
        "updatedAt": at,
        "attempt": 3,
        "version": 6,
        "executionArn": "arn:first",
        "history": [
            {"state": state, "at": at, "attempt": 3, "detail": detail}
            | ({"executionArn": "arn:first"} if state is State.RECEIVED else {})
            for state in PATH
        ],
        "order": ORDER.canonical(),
        "orderDigest": ORDER.digest(),
        "customerId": "CUST-1",
        "enrichStarts": 0,
        "enrichment": ENRICHMENT,
        "result": FINALIZATION,
    }


@pytest.mark.parametrize("state", OPEN)
def test_an_older_item_of_a_completed_order_gets_the_transitions_that_it_lacks(ledger, kept, state):
    kept.put_in(state)
    before = kept.item()
    assert settle(ledger, ORDER, OWNER, COMPLETION) is Settlement.RECORDED
    after = kept.item()
    assert [step["state"] for step in after["history"]] == list(PATH)
    assert after["history"][: before["version"]] == before["history"]
    assert (after["version"], after["state"], after["stateShard"]) == (
        6,
        "COMPLETED",
        state_shard(State.COMPLETED, "ORDER-1"),
    )
    assert (after["enrichment"], after["result"]) == (ENRICHMENT, FINALIZATION)


@pytest.mark.parametrize("state", sorted(RETRYABLE))
@pytest.mark.parametrize("body", [ORDER, OTHER_BODY], ids=["the same body", "a corrected one"])
@pytest.mark.parametrize("attempt", [2, 4], ids=["the next attempt", "a later one"])
def test_an_item_set_back_to_an_earlier_attempt_gets_the_attempt_that_succeeded(ledger, kept, state, body, attempt):
    kept.put_in(state)
    before = kept.item()
    execution = replace(RETRY, attempt=attempt)
    assert settle(ledger, body, execution, COMPLETION) is Settlement.RECORDED
    entry = ledger.get("ORDER-1")
    assert [(step.state, step.attempt) for step in entry.history[before["version"] :]] == [
        (state, attempt) for state in PATH
    ]
    assert (entry.attempt, entry.execution_arn, entry.order_digest) == (attempt, "arn:second", body.digest())
    assert (entry.enrichment, entry.result, entry.error) == (ENRICHMENT, FINALIZATION, None)


def test_an_older_item_that_was_cancelled_is_completed_when_its_execution_succeeded(ledger, kept):
    kept.put_in(State.CANCELLED)
    assert settle(ledger, ORDER, OWNER, COMPLETION) is Settlement.RECORDED
    entry = ledger.get("ORDER-1")
    assert [step.state for step in entry.history[-7:]] == ["CANCELLED", *PATH]
    assert (entry.attempt, entry.state) == (1, State.COMPLETED)


def test_a_success_is_recorded_after_another_attempt_of_the_lost_order_has_failed(ledger, kept):
    failed = kept.put_in(State.FAILED)
    kept.put_in(State.FAILED, owner=RETRY, after=failed)
    assert settle(ledger, ORDER, OTHER, COMPLETION) is Settlement.RECORDED
    entry = ledger.get("ORDER-1")
    assert (entry.attempt, entry.state, entry.execution_arn) == (2, State.COMPLETED, "arn:other")


@pytest.mark.parametrize("state", [*OPEN, State.COMPLETED])
def test_a_success_changes_no_order_that_another_execution_runs_or_completed(ledger, kept, state):
    kept.put_in(state)
    before = kept.item()
    for body in (ORDER, OTHER_BODY):
        assert settle(ledger, body, OTHER, COMPLETION) is Settlement.AGREED
    assert kept.item() == before


def test_a_success_that_is_settled_while_its_owner_writes_is_recorded_once(ledger, kept):
    kept.put_in(State.WAITING)
    kept.before_write(lambda: Ledger(ledger).finalizing(OWNER), lambda: settle(ledger, ORDER, OWNER, COMPLETION))
    assert settle(ledger, ORDER, OWNER, COMPLETION) is Settlement.AGREED
    assert [step["state"] for step in kept.item()["history"]] == list(PATH)


def test_a_response_gives_back_what_the_workflow_made_it_of():
    response = json.dumps(order_result("ORDER-1", ENRICHMENT, FINALIZATION))
    assert completion_of(response, "arn:first") == COMPLETION


@pytest.mark.parametrize(
    "result", ["", "null", "[]", "{}", '{"success": true}', "[" * 100_000, '{"enrichmentResult": 1}']
)
def test_a_result_of_another_shape_is_an_error_that_names_the_execution(result):
    with pytest.raises(ResultUnreadable, match="execution arn:first succeeded, and its result does not have"):
        completion_of(result, "arn:first")


# ── what a lost item must not be made of, and what is no conflict ───────────────────────────────────


@pytest.mark.parametrize("error_type", ["OrderConflict", "OrderInProgress"])
def test_an_execution_whose_order_was_anothers_does_not_make_a_lost_item(ledger, kept, error_type):
    refused = End(State.FAILED, error_type, "order ORDER-1 is another's")
    assert settle(ledger, OTHER_BODY, OTHER, refused) is Settlement.ITEM_LOST
    assert kept.item() is None
    assert settle(ledger, ORDER, OWNER, replace(refused, state=State.STOPPED)) is Settlement.RECORDED


def test_a_body_that_was_the_orders_before_a_correction_is_no_conflict(ledger, kept):
    failed = kept.put_in(State.FAILED)
    kept.put_in(State.FAILED, order=OTHER_BODY, owner=RETRY, after=failed)
    assert ledger.get("ORDER-1").history[-5].former_digest == ORDER.digest()
    before = kept.item()
    assert settle(ledger, ORDER, OTHER, FAILED) is Settlement.AGREED
    assert settle(ledger, OTHER_BODY, OTHER, FAILED) is Settlement.AGREED
    assert settle(ledger, parse_order('{"orderId": "ORDER-1"}'), OTHER, FAILED) is Settlement.CONFLICT
    assert kept.item() == before


# ── limits of texts ─────────────────────────────────────────────────────────────────────────────────


def test_an_errors_type_and_message_are_cut(ledger, kept):
    """The reason of a stop can have a megabyte; an item has at most 400 KB."""
    long = End(State.STOPPED, "T" * 500_000, "\U0001f600" * 500_000)
    settle(ledger, ORDER, OWNER, long)
    kept = kept.item()
    assert kept["error"] == {"type": "T" * MAX_TEXT_BYTES, "message": "\U0001f600" * (MAX_TEXT_BYTES // 4)}
    assert kept["history"][-1]["detail"] == "T" * MAX_TEXT_BYTES


@pytest.mark.parametrize("character", ["a", "ü", "€", "\U0001f600"])
@pytest.mark.parametrize("before", ["", "a", "aa", "aaa"])
def test_a_text_is_cut_by_bytes_and_never_inside_a_character(character, before):
    text = before + character * MAX_TEXT_BYTES
    kept = kept_text(text)
    assert text.startswith(kept)
    assert MAX_TEXT_BYTES - len(character.encode()) < len(kept.encode()) <= MAX_TEXT_BYTES


def test_an_order_ends_despite_a_lone_surrogate_in_the_reason(ledger, kept):
    """Lambda's JSON can contain a lone surrogate, and DynamoDB refuses it."""
    settle(ledger, ORDER, OWNER, End(State.STOPPED, "Broken", "half \ud83d"))
    assert kept.item()["error"]["message"] == "half \\ud83d"


# ── after the last attempt ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", [None, *State])
@pytest.mark.parametrize("body", [ORDER, OTHER_BODY], ids=["the same body", "another"])
def test_an_execution_named_for_an_attempt_after_the_last_changes_nothing(ledger, kept, state, body):
    if state:
        kept.put_in(state, owner=replace(OWNER, attempt=MAX_ATTEMPT))
    before = kept.item()
    after_last = OrderExecution("ORDER-1", "arn:late", MAX_ATTEMPT + 1, named=True)
    assert settle(ledger, body, after_last, STOPPED) is Settlement.AFTER_LAST_ATTEMPT
    assert kept.item() == before


def test_an_attempt_after_the_last_that_already_began_is_ended(ledger, kept):
    old = replace(OWNER, attempt=MAX_ATTEMPT + 7)
    kept.put_in(State.WAITING, owner=old)
    assert settle(ledger, ORDER, old, STOPPED) is Settlement.RECORDED
    assert kept.item()["state"] == "STOPPED"
