"""What the screens of the console compute: differences, the timeline, the filter in an address, kept values."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from starlette.datastructures import QueryParams

from durable_local.console.problem import NotShown
from shared.ledger.entry import LedgerEntry, Transition
from shared.ledger.states import RETRYABLE, State
from tools.console.differences import Difference, differences
from tools.console.display import with_times
from tools.console.kept import Kept, paced
from tools.console.order_actions import possible
from tools.console.order_timeline import order_timeline
from tools.console.screens.orders import Chosen

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(second):
    return START + timedelta(seconds=second)


def entry(*steps, **more):
    """An entry with these transitions: the state, the second and the attempt of each."""
    firsts = set()
    history = []
    for state, second, attempt in steps:
        arn = None if attempt in firsts else f"arn:{attempt}"
        firsts.add(attempt)
        history.append(Transition(state, at(second).isoformat().replace("+00:00", "Z"), attempt, None, arn))
    last = history[-1]
    fields = {
        "order_id": "A",
        "state": last.state,
        "attempt": last.attempt,
        "version": len(history),
        "execution_arn": f"arn:{last.attempt}",
        "order": {},
        "order_digest": "",
        "history": tuple(history),
        "updated_at": last.at,
        "starts": 1,
    }
    return LedgerEntry(**fields | more)


def event(second, kind, **details):
    return {"EventType": kind, "EventTimestamp": at(second), "EventId": second, "Id": kind, f"{kind}Details": details}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3, 4]}}, [("a.b[1]", 2, 3), ("a.b[2]", None, 4)]),
        ({"a": 1, "b": "x"}, {"b": "x", "c": None}, [("a", 1, None), ("c", None, None)]),
        ({"a": "text"}, {"a": ["t"]}, [("a", "text", ["t"])]),
    ],
)
def test_differences_have_the_path_and_both_values(before, after, expected):
    assert differences(before, after) == [Difference(*each) for each in expected]


def test_times_in_a_sentence_are_elements_and_the_rest_is_escaped():
    shown = with_times("<b> until 2026-01-01T00:00:00.500Z & more")
    assert shown.startswith("&lt;b&gt; until <time datetime=")
    assert shown.endswith("</time> &amp; more")


def test_the_timeline_has_a_bar_for_each_state_and_lambdas_rows():
    waiting = entry((State.RECEIVED, 0, 1), (State.ENRICHING, 1, 1), (State.WAITING, 2, 1))
    events = [
        event(0, "ExecutionStarted"),
        event(2, "WaitStarted", Duration=8, ScheduledEndTimestamp=at(10)),
    ]
    line = order_timeline(waiting, {1: events}, at(5))
    ledger, execution, wait = line.rows
    assert [(bar.kind, bar.start, bar.end) for bar in ledger.bars] == [
        ("state-received", at(0), at(1)),
        ("state-enriching", at(1), at(2)),
        ("state-waiting", at(2), None),
    ]
    assert (execution.name, wait.note) == ("execution", "resumes in 5 s")
    # The axis goes on to the end of the wait, and now is on it.
    assert (line.start, line.end, line.now) == (at(0), at(10), at(5))


def test_a_timeline_of_two_attempts_names_them_and_ends_with_the_last():
    stopped = entry(
        (State.RECEIVED, 0, 1),
        (State.FAILED, 3, 1),
        (State.RECEIVED, 60, 2),
        (State.STOPPED, 62, 2),
        error={"type": "Recall", "message": "faulty"},
    )
    events = [event(60, "ExecutionStarted"), event(61, "ExecutionStopped")]
    line = order_timeline(stopped, {1: [], 2: events}, at(1000))
    assert [row.name for row in line.rows] == ["attempt 1: ledger", "attempt 2: ledger", "attempt 2: execution"]
    assert (line.start, line.end, line.now) == (at(0), at(62), None)
    assert [row.error for row in line.rows[:2]] == [None, {"ErrorType": "Recall", "ErrorMessage": "faulty"}]
    assert line.rows[0].bars[-1].is_failure


def test_an_address_says_the_filter_and_the_filter_says_the_address():
    query = "state=FAILED&state=STOPPED&customer=C%261&since=2h&view=My+failures"
    chosen = Chosen.of(QueryParams(query + "&state=NONSENSE&sort=sideways"))
    assert chosen.states == (State.FAILED, State.STOPPED)
    assert Chosen.of(QueryParams(chosen.query())) == chosen
    assert chosen.address(cursor="x").endswith("cursor=x&view=My+failures")
    assert Chosen().address() == "/orders"


def test_a_wrong_age_is_a_mistake_and_selects_all():
    chosen = Chosen(since="yesterday", unmoved="2h")
    assert set(chosen.mistakes) == {"since"}
    assert chosen.selection.since is None
    assert chosen.selection.before < datetime.now(UTC).isoformat()


@pytest.mark.parametrize("given", [{}, {"id": "A"}, {"unmoved": "2h"}, {"error": "E", "id": "A"}, {"since": "soon"}])
def test_no_job_selects_by_id_by_the_unmoved_or_all(given):
    assert Chosen(**given).filter is None


def test_a_job_selects_what_the_list_shows():
    found = Chosen((State.FAILED,), error="E x", customer="C").filter
    assert found.options == ["--state", "FAILED", "--error", "E x", "--customer", "C"]


@pytest.mark.parametrize("state", State)
def test_an_order_can_be_retried_exactly_when_the_ledger_allows_it(state):
    found = possible(entry((State.RECEIVED, 0, 1), (state, 1, 1), enrichment={}), None)
    assert ("retry" in found, "finalize" in found, "edit" in found) == (state in RETRYABLE,) * 3
    assert ("cancel" in found) == (state in {State.RECEIVED, State.ENRICHING, State.ENRICHED, State.WAITING})


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("RUNNING", ["pause", "stop", "cancel"]),
        ("PAUSED", ["resume", "stop", "cancel"]),
        (None, ["cancel"]),
    ],
)
def test_an_execution_is_paused_or_resumed_by_its_status(status, expected):
    assert possible(entry((State.RECEIVED, 0, 1), (State.WAITING, 1, 1)), status) == expected


def test_a_forgotten_order_cannot_be_retried():
    forgotten = entry((State.RECEIVED, 0, 1), (State.FAILED, 1, 1), forgotten_at="2026-01-01T00:00:00.000Z")
    assert possible(forgotten, None) == []


def test_a_kept_value_is_read_once_for_all_looks():
    reads = []
    kept = Kept(lambda: reads.append(1) or len(reads), seconds=1000)
    assert [kept.look().value for _ in range(3)] == [1, 1, 1]
    kept.forget()
    until(lambda: kept.look().value == 2)
    assert len(reads) == 2


def test_a_look_does_not_wait_for_a_slow_read():
    go = threading.Event()
    kept = Kept(lambda: go.wait(60) and "read", seconds=1000)
    assert kept.look().value is None
    go.set()
    until(lambda: kept.look().value == "read")


def test_a_kept_value_stays_when_a_later_read_fails_and_says_why():
    answers = ["good"]

    def read():
        if not answers:
            raise NotShown("No permission", "Ask for it.")
        return answers.pop()

    kept = Kept(read, seconds=1000)
    until(lambda: kept.look().value == "good")
    kept.forget()
    until(lambda: kept.look().problem is not None)
    assert (kept.look().value, kept.look().problem.title) == ("good", "No permission")


def test_a_slow_read_is_repeated_only_after_five_times_its_duration(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("tools.console.kept.time.monotonic", lambda: clock[0])
    reads = []

    def read():
        clock[0] += 2
        reads.append(clock[0])
        return len(reads)

    look = paced(read)
    found = []
    for _ in range(14):
        found.append(look())
        clock[0] += 1
    assert found == [1] * 10 + [2] * 4
    assert reads == [2, 14]


def until(look):
    done = threading.Event()
    for _ in range(200):
        if look():
            return
        done.wait(0.05)
    pytest.fail("it never came true")
