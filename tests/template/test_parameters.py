"""What a deployment may choose, within what AWS takes."""

import itertools

import pytest

# Lambda's own bounds: docs.aws.amazon.com/lambda/latest/api, CreateEventSourceMapping, DurableConfig, ScalingConfig.
BOUNDS = {
    "BatchSize": (1, 10_000),
    "BatchWindowSeconds": (0, 300),
    "IngestConcurrency": (2, 1_000),
    "ExecutionTimeoutSeconds": (1, 31_622_400),
    "RetentionDays": (1, 90),
    "WaitSeconds": (1, 31_622_400),
}


@pytest.mark.parametrize("name", BOUNDS.keys())
def test_a_number_is_within_what_lambda_takes_and_its_default_within_its_own_range(parameters, name):
    parameter = parameters[name]
    lowest, highest = BOUNDS[name]
    assert parameter["Type"] == "Number"
    assert lowest <= parameter["MinValue"] <= parameter["Default"] <= parameter["MaxValue"] <= highest


def test_every_number_has_bounds(parameters):
    numbers = {name for name, parameter in parameters.items() if parameter["Type"] == "Number"}
    assert numbers == BOUNDS.keys() | {"LogRetentionDays"}


def test_a_choice_has_its_default_among_its_values(parameters):
    choices = {name for name, parameter in parameters.items() if "AllowedValues" in parameter}
    assert choices == {"LogLevel", "LogRetentionDays", "Architecture"}
    for name in choices:
        assert parameters[name]["Default"] in parameters[name]["AllowedValues"]


def test_a_template_with_only_its_defaults_can_be_deployed(parameters):
    assert all("Default" in parameter for parameter in parameters.values())


# ── the rule ──────────────────────────────────────────────────────────────────────────────────────


def holds(condition, values):
    """A rule's condition, as CloudFormation works it out: parameters are strings there."""
    ((function, given),) = condition.items()
    match function:
        case "Ref":
            return values[given]
        case "Fn::Or":
            return any(holds(part, values) for part in given)
        case "Fn::Not":
            return not holds(given[0], values)
        case "Fn::Equals":
            left, right = (holds(part, values) if isinstance(part, dict) else part for part in given)
            return left == right
        case "Fn::Contains":
            known, value = given
            return holds(value, values) in known
    raise AssertionError(f"{function} is not worked out here")


@pytest.mark.parametrize(
    ("batch_size", "window"), list(itertools.product([1, 2, 9, 10, 11, 12, 99, 100, 101, 1_000], [0, 1, 10, 60]))
)
def test_a_batch_above_ten_is_refused_without_a_window_and_no_other(translated, batch_size, window):
    (assertion,) = translated["Rules"]["LargeBatchesNeedAWindow"]["Assertions"]
    values = {"BatchSize": str(batch_size), "BatchWindowSeconds": str(window)}
    assert holds(assertion["Assert"], values) == (batch_size <= 10 or window >= 1)


def test_the_defaults_keep_the_rule(translated, parameters):
    (assertion,) = translated["Rules"]["LargeBatchesNeedAWindow"]["Assertions"]
    assert holds(assertion["Assert"], {name: str(parameter["Default"]) for name, parameter in parameters.items()})
