"""The format of a log line, and what is not logged, whatever the level."""

import json
import logging
import re
from decimal import Decimal
from io import StringIO

from shared.aws.logs import logger


def test_at_debug_no_request_with_an_order_or_a_token_in_it_is_logged():
    """Lambda sets the root logger to the configured level, and botocore logs whole requests at DEBUG."""
    logger("test")
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    try:
        for name in ("botocore.endpoint", "botocore.auth", "urllib3.connectionpool", "boto3.resources"):
            assert not logging.getLogger(name).isEnabledFor(logging.DEBUG)
    finally:
        root.setLevel(before)


def test_a_line_has_the_time_in_utc_and_no_line_of_code(monkeypatch):
    stream = StringIO()
    log = logger("format")
    # Not setStream, which flushes the stream before: that can be an earlier test's, and closed.
    monkeypatch.setattr(log.registered_handler, "stream", stream)
    log.warning("written")
    line = json.loads(stream.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("timestamp"))
    assert line == {"level": "WARNING", "message": "written", "service": "format"}


def test_a_message_is_logged_as_the_text_it_is_and_a_value_that_json_lacks_as_its_text(monkeypatch):
    stream = StringIO()
    log = logger("text")
    monkeypatch.setattr(log.registered_handler, "stream", stream)
    log.warning('{"a": 1}', price=Decimal("9.90"), label="Zoë")
    line = json.loads(stream.getvalue())
    assert (line["message"], line["price"], line["label"]) == ('{"a": 1}', "9.90", "Zoë")
    assert "Zoë" in stream.getvalue()
