"""The parameters of the template, within the limits of AWS."""

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
    # Ours: 0 reserves nothing. The account's concurrency is 1,000 by default.
    "OrchestratorConcurrency": (0, 1_000),
    "EnricherConcurrency": (0, 1_000),
    # CloudWatch has no bounds for a threshold. A message is at most 14 days old, and a count is 1 or more.
    "QueueAgeAlarmSeconds": (1, 1_209_600),
    "FailedOrdersAlarmCount": (1, 1_000_000),
    "RejectedMessagesAlarmCount": (1, 1_000_000),
}


@pytest.mark.parametrize("name", BOUNDS.keys())
def test_a_numbers_range_is_within_lambdas_and_has_the_default(parameters, name):
    parameter = parameters[name]
    lowest, highest = BOUNDS[name]
    assert parameter["Type"] == "Number"
    assert lowest <= parameter["MinValue"] <= parameter["Default"] <= parameter["MaxValue"] <= highest


def test_every_number_has_bounds(parameters):
    numbers = {name for name, parameter in parameters.items() if parameter["Type"] == "Number"}
    assert numbers == BOUNDS.keys() | {"LogRetentionDays", "LedgerRetentionDays"}


def test_a_choice_has_its_default_among_its_values(parameters):
    choices = {name for name, parameter in parameters.items() if "AllowedValues" in parameter}
    assert choices == {
        "LogLevel",
        "LogRetentionDays",
        "Architecture",
        "LedgerDeletionProtection",
        "LedgerRetentionDays",
        "TrafficShifting",
    }
    for name in choices:
        assert parameters[name]["Default"] in parameters[name]["AllowedValues"]


def test_a_template_with_only_its_defaults_can_be_deployed(parameters):
    assert all("Default" in parameter for parameter in parameters.values())


# ── the rules ─────────────────────────────────────────────────────────────────────────────────────


def holds(condition, values):
    """Evaluates a rule's condition as CloudFormation does, with parameters as strings."""
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


def test_the_ledgers_retention_is_refused_below_28_days_after_lambdas_and_no_other(translated, parameters):
    """A message can be 14 days in its queue and, redriven, 14 more in it: until then the order must be known."""
    assertions = translated["Rules"]["LedgerRetentionIsLongEnough"]["Assertions"]
    shortest, longest = (parameters["RetentionDays"][bound] for bound in ("MinValue", "MaxValue"))
    for ledger, executions in itertools.product(
        parameters["LedgerRetentionDays"]["AllowedValues"], range(shortest, longest + 1)
    ):
        values = {"LedgerRetentionDays": str(ledger), "RetentionDays": str(executions)}
        accepted = all(holds(assertion["Assert"], values) for assertion in assertions)
        assert accepted == (ledger == 0 or ledger >= executions + 28), values


def test_the_defaults_pass_the_rules(translated, parameters):
    defaults = {name: str(parameter["Default"]) for name, parameter in parameters.items()}
    for rule in translated["Rules"].values():
        assert all(holds(assertion["Assert"], defaults) for assertion in rule["Assertions"])
