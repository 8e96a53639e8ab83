"""The messages of docs/usage.md: each is rejected as shown there, and accepted as it is mended there."""

import json
import re
from pathlib import Path

import pytest

from shared.aws.rejected_orders import field_errors_json
from shared.errors import InvalidOrder
from shared.orders.order import parse_order

USAGE = (Path(__file__).parents[2] / "docs" / "usage.md").read_text()
BLOCK = r"```{}\n(.*?)\n```\s+"
MESSAGES = re.findall("".join(BLOCK.format(kind) for kind in ("message", "reject", "mended")), USAGE, re.DOTALL)


def test_the_page_shows_ten_messages():
    assert len(MESSAGES) == USAGE.count("```message") == 10


@pytest.mark.parametrize(("sent", "reject", "mended"), MESSAGES)
def test_a_message_is_rejected_as_shown_and_accepted_as_mended(sent, reject, mended):
    with pytest.raises(InvalidOrder) as refused:
        parse_order(sent)
    errors = json.loads(field_errors_json(refused.value.errors))
    lines = [f"{error['field']}: {error['reason']}".removeprefix(": ") for error in errors]
    assert [refused.value.code, *lines] == reject.splitlines()
    assert parse_order(mended)
