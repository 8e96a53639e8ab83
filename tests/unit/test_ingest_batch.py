"""A batch: each record has its own outcome, and the response has exactly the ids to give back."""

import json
import threading
from types import SimpleNamespace

import pytest
from aws_lambda_powertools.utilities.batch import process_partial_response

from ingest.batch import MAX_THREADS, ParallelBatchProcessor
from tests.unit.events import sqs_event

RESERVE_S = 2


@pytest.fixture
def work(logger):
    """Processes a batch with its own processor, as each invocation of ingest does. Returns the ids given back."""

    def worked(handle, *message_ids, remaining=lambda: 30.0):
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: remaining() * 1000)
        answer = process_partial_response(
            sqs_event(*message_ids), handle, ParallelBatchProcessor(logger, RESERVE_S), context
        )
        assert answer.keys() == {"batchItemFailures"}
        assert all(failure.keys() == {"itemIdentifier"} for failure in answer["batchItemFailures"])
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    return worked


@pytest.fixture
def released():
    """Releases hanging handlers at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


def test_a_batch_without_errors_gives_nothing_back(work):
    seen = set()
    assert work(lambda record: seen.add(record.message_id), *"abc") == []
    assert seen == set("abc")


@pytest.mark.parametrize("failing", ["a", "b", "c", "ab", "ac", "bc"])
def test_exactly_the_records_that_failed_are_given_back(work, failing):
    def handle(record):
        if record.message_id in failing:
            raise ValueError(record.message_id)

    assert work(handle, *"abc") == list(failing)


def test_a_batch_in_which_every_record_fails_raises_nothing(work):
    """If it raised, the function would fail, and the whole batch would be received again."""

    def handle(_record):
        raise ValueError

    assert work(handle, *"abc") == list("abc")


def test_two_records_that_fail_with_the_same_error_are_both_given_back(work):
    error = ValueError("the same")

    def handle(record):
        if record.message_id != "b":
            raise error

    assert work(handle, *"abc") == ["a", "c"]


def test_the_records_of_a_batch_are_processed_at_the_same_time(work):
    """Each waits for all the others: if they ran one after another, none would end."""
    ids = [str(n) for n in range(MAX_THREADS)]
    together = threading.Barrier(len(ids), timeout=60)
    assert work(lambda _record: together.wait() and None, *ids) == []


def test_a_batch_with_more_records_than_threads_is_processed_whole(work):
    ids = [str(n) for n in range(5 * MAX_THREADS)]
    odd = [message_id for message_id in ids if int(message_id) % 2]

    def handle(record):
        if record.message_id in odd:
            raise ValueError

    assert work(handle, *ids) == odd


def hangs(released, *stuck):
    """A handler that never ends for some records, and a clock that runs out when all others are done."""
    others_done, done = threading.Event(), []

    def handle(record):
        if record.message_id in stuck:
            released.wait()
        else:
            done.append(record.message_id)
            others_done.set()

    def remaining():
        assert others_done.wait(60)
        return RESERVE_S + 0.2

    return handle, remaining


def test_a_record_that_hangs_past_the_deadline_does_not_give_its_neighbours_back(work, released):
    handle, remaining = hangs(released, "stuck")
    assert work(handle, "stuck", "done", remaining=remaining) == ["stuck"]


def test_a_record_not_done_at_the_deadline_is_logged(work, released, log):
    handle, remaining = hangs(released, "stuck")
    work(handle, "stuck", "done", remaining=remaining)
    (line,) = map(json.loads, log.getvalue().splitlines())
    assert (line["level"], line["message"], line["messageId"]) == ("WARNING", "message given back", "stuck")
    assert line["error"] == "not done before the function's deadline"


def test_a_batch_with_no_time_left_is_given_back_whole(work, released):
    assert work(lambda _record: released.wait(), *"abc", remaining=lambda: 0.0) == list("abc")


def test_records_still_queued_at_the_deadline_are_given_back_and_not_started(work, released):
    begun = []

    def handle(record):
        begun.append(record.message_id)
        released.wait()

    ids = [str(n) for n in range(MAX_THREADS + 8)]
    before = set(threading.enumerate())
    assert work(handle, *ids, remaining=lambda: RESERVE_S + 0.01) == ids
    released.set()
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert set(begun) <= set(ids[:MAX_THREADS])


def test_a_thread_still_running_changes_nothing_in_the_next_batch(work, released):
    late = threading.Event()

    def first(record):
        released.wait()
        try:
            raise ValueError(record.message_id)
        finally:
            late.set()

    def second(record):
        released.set()
        assert late.wait(60)
        if record.message_id == "mine":
            raise ValueError

    assert work(first, "late", remaining=lambda: 0.0) == ["late"]
    assert work(second, "mine", "fine") == ["mine"]
