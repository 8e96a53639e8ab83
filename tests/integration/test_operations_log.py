"""The operations log on moto: who did what, newest first, page by page."""

import pytest

from tools.operations.operations_log import OperationsLog


@pytest.fixture
def log(dynamodb, operations_table):
    return OperationsLog(dynamodb, operations_table, "arn:me")


def test_the_newest_lines_come_first_and_the_next_page_has_the_older_ones(log):
    for number in range(5):
        log.write("retry", f"A-{number}", "attempt 2")
    newest = log.newest(3)
    assert {(line.what, line.by, line.action, line.result) for line in newest} <= {
        (f"A-{number}", "arn:me", "retry", "attempt 2") for number in range(5)
    }
    assert [line.key for line in newest] == sorted((line.key for line in newest), reverse=True)
    older = log.newest(3, before=newest[-1].key)
    assert len(older) == 2
    assert {line.what for line in [*newest, *older]} == {f"A-{number}" for number in range(5)}


def test_an_empty_log_has_no_lines(log):
    assert log.newest(3) == []
