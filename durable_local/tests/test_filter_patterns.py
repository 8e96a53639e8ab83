"""The filter patterns of CloudWatch Logs, as its user guide describes them."""

import pytest

from durable_local.ministack.patches.filter_patterns import PatternError, matcher

EVENT = """{"level": "ERROR", "user": {"id": 17, "tags": ["new", "vip"]}, "ip": "10.0.0.7", "retried": true,
            "cause": null, "took": 1.5, "order.id": "O-1", "text": "a \\"quoted\\" word"}"""


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        '{ $.level = "ERROR" }',
        "{ $.level = ERROR }",
        '{$.level="ERR*"}',
        '{ $.ip = "10.0.*" }',
        "{ $.ip = %^10\\.0\\.\\d+% }",
        '{ $.level != "INFO" }',
        "{ $.user.id = 17 }",
        "{ $.user.id >= 17 && $.took < 2 }",
        '{ $.user.tags[1] = "vip" }',
        "{ $.['order.id'] = O-1 }",
        '{ $.text = "a \\"quoted\\" word" }',
        "{ $.retried IS TRUE }",
        "{ $.cause IS NULL }",
        "{ $.missing NOT EXISTS }",
        "{ $.cause EXISTS }",
        '{ ($.level = "INFO" || $.user.id > 16) && $.took = 1.5 }',
        '{ $.level = "ERROR" || $.level = "INFO" && $.user.id = 1 }',
        "ERROR vip",
        '"level\\": \\"ERROR"',
        "?INFO ?ERROR",
        "ERROR -INFO",
    ],
)
def test_a_pattern_matches(pattern):
    assert matcher(pattern)(EVENT)


@pytest.mark.parametrize(
    "pattern",
    [
        '{ $.level = "INFO" }',
        '{ $.level = "ERR" }',
        '{ $.level != "ERROR" }',
        '{ $.missing = "x" }',
        '{ $.missing != "x" }',
        "{ $.user.id > 17 }",
        "{ $.retried IS FALSE }",
        "{ $.missing IS NULL }",
        "{ $.level NOT EXISTS }",
        '{ $.user.tags[2] = "vip" }',
        '{ $.level = "ERROR" && $.took > 2 }',
        "error",
        '"ERROR vip"',
        "?INFO ?WARN",
        "ERROR -vip",
    ],
)
def test_a_pattern_does_not_match(pattern):
    assert not matcher(pattern)(EVENT)


def test_a_json_pattern_does_not_match_other_text():
    assert not matcher('{ $.level = "ERROR" }')('level = "ERROR"')


@pytest.mark.parametrize(
    "pattern",
    ["{ level = ERROR }", "{ $.level }", "{ $.level = ERROR", "{ $.took > ten }", "{ ($.a = 1 }", "[ip, user]", "%a+%"],
)
def test_a_pattern_that_is_wrong_or_not_supported_is_refused(pattern):
    with pytest.raises(PatternError):
        matcher(pattern)
