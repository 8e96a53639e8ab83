"""Marks of executions in the operations table, read a hundred at a time."""

import pytest

from reconciler.marks import Mark
from shared.errors import OperationsUnavailable


def arns(count):
    return [f"arn:{number}" for number in range(count)]


def test_only_marked_executions_are_returned(marks):
    for arn in arns(250)[::2]:
        marks.put(arn, Mark.FINAL)
    marks.put("arn:1", Mark.UNTIL_NEXT_ATTEMPT)
    found = marks.of(arns(250) * 2)
    assert found == dict.fromkeys(arns(250)[::2], Mark.FINAL) | {"arn:1": Mark.UNTIL_NEXT_ATTEMPT}
    assert marks.of([]) == {}


class LeavesOut:
    """DynamoDB returns one key per response and leaves the others out, for this many responses."""

    def __init__(self, dynamodb, times):
        self.times = times
        self.asked = []
        dynamodb.meta.events.register("before-parameter-build.dynamodb.BatchGetItem", self.take)
        dynamodb.meta.events.register("after-call.dynamodb.BatchGetItem", self.give_back)

    def take(self, params, **_):
        self.left = {}
        (table, wanted), *_ = params["RequestItems"].items()
        self.asked.append(len(wanted["Keys"]))
        if len(self.asked) <= self.times:
            self.left = {table: {"Keys": wanted["Keys"][1:]}}
            params["RequestItems"] = {table: {"Keys": wanted["Keys"][:1]}}

    def give_back(self, parsed, **_):
        parsed["UnprocessedKeys"] = self.left


def test_keys_that_dynamodb_leaves_out_are_requested_again(marks, dynamodb):
    for arn in arns(5):
        marks.put(arn, Mark.FINAL)
    leaves_out = LeavesOut(dynamodb, times=2)
    assert marks.of(arns(5)).keys() == set(arns(5))
    assert leaves_out.asked == [5, 4, 3]


def test_keys_that_dynamodb_always_leaves_out_count_as_not_marked(marks, dynamodb, monkeypatch):
    slept = []
    monkeypatch.setattr(marks, "_sleep", slept.append)
    for arn in arns(9):
        marks.put(arn, Mark.FINAL)
    leaves_out = LeavesOut(dynamodb, times=100)
    assert marks.of(arns(9)).keys() == set(arns(4))
    assert leaves_out.asked == [9, 8, 7, 6]
    assert slept == [0.2, 0.4, 0.8]


def test_an_unavailable_table_is_a_transient_error(marks, dynamodb):
    dynamodb.delete_table(TableName="OperationsTable")
    with pytest.raises(OperationsUnavailable, match="could not be marked"):
        marks.put("arn:1", Mark.FINAL)
    with pytest.raises(OperationsUnavailable, match="could not be read"):
        marks.of(["arn:1"])
