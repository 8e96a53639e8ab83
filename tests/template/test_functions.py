"""The template's functions match the code and its environment variables; the orchestrator has an alias."""

import ast
import importlib
import json
from pathlib import Path

import pytest

from tools.operations.costs import FUNCTION_MEMORY_MB, Deployment
from tools.template_check import TEMPLATE, translated

SRC = TEMPLATE.parent / "src"
FUNCTIONS = {
    "OrderIngest": "ingest",
    "DurableOrderProcessor": "orchestrator",
    "OrderEnricher": "enricher",
    "OrderReconciler": "reconciler",
    "OrderSweep": "reconciler",
    "OrderPublisher": "publisher",
}
ALIAS = "DurableOrderProcessorAliasprod"


def environment_read_by(module: Path):
    """The names in `os.environ["NAME"]`, and whether the module uses the environment in any other way."""
    tree = ast.parse(module.read_text())
    touched = [
        node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    ]
    names = [
        node.slice.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and node.value in touched and isinstance(node.slice, ast.Constant)
    ]
    return names, len(touched) != len(names)


def test_the_template_has_the_functions_of_the_pipeline(resources):
    functions = {name for name, resource in resources.items() if resource["Type"] == "AWS::Lambda::Function"}
    assert functions == FUNCTIONS.keys()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_handler_is_where_the_template_says(template, properties, handlers, function):
    assert (TEMPLATE.parent / template["Globals"]["Function"]["CodeUri"]).resolve() == SRC
    module, _, name = properties(function)["Handler"].rpartition(".")
    assert module == f"{FUNCTIONS[function]}.handler"
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_environment_has_exactly_the_variables_that_the_handler_reads(properties, function):
    read, otherwise = environment_read_by(SRC / FUNCTIONS[function] / "handler.py")
    assert not otherwise
    assert sorted(read) == sorted(properties(function)["Environment"]["Variables"])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_the_memory_that_the_cost_model_counts(properties, function):
    assert properties(function)["MemorySize"] == FUNCTION_MEMORY_MB


def test_the_cost_model_has_the_templates_defaults(template):
    parameters = {name: str(declared["Default"]) for name, declared in template["Parameters"].items()}
    assert Deployment.of(parameters) == Deployment()


def test_only_handlers_read_the_environment():
    for module in SRC.rglob("*.py"):
        if module.name != "handler.py":
            assert environment_read_by(module) == ([], False), module


def test_the_environment_names_resources_of_the_same_stack(properties):
    def variables(function):
        return properties(function)["Environment"]["Variables"]

    assert variables("OrderIngest") == {
        "LEDGER_TABLE": {"Ref": "LedgerTable"},
        "ORCHESTRATOR_ARN": {"Ref": ALIAS},
        "ORDER_ID_PREFIX": {"Ref": "OrderIdPrefix"},
        "REJECTED_ORDERS_QUEUE_URL": {"Ref": "RejectedOrders"},
        "STACK_ID": {"Ref": "AWS::StackId"},
    }
    assert variables("DurableOrderProcessor") == {
        "ENRICHER_ARN": {"Fn::GetAtt": ["OrderEnricher", "Arn"]},
        "EXECUTION_TIMEOUT_SECONDS": {"Ref": "ExecutionTimeoutSeconds"},
        "LEDGER_RETENTION_DAYS": {"Ref": "LedgerRetentionDays"},
        "LEDGER_TABLE": {"Ref": "LedgerTable"},
        "STACK_ID": {"Ref": "AWS::StackId"},
        "WAIT_SECONDS": {"Ref": "WaitSeconds"},
    }
    assert variables("OrderPublisher") == {"EVENT_BUS": {"Ref": "OrderEvents"}}
    assert variables("OrderEnricher") == {"CUSTOMERS_TABLE": {"Ref": "CustomersTable"}}
    assert (
        variables("OrderReconciler")
        == variables("OrderSweep")
        == {
            "EXECUTION_TIMEOUT_SECONDS": {"Ref": "ExecutionTimeoutSeconds"},
            "LEDGER_RETENTION_DAYS": {"Ref": "LedgerRetentionDays"},
            "LEDGER_TABLE": {"Ref": "LedgerTable"},
            "OPERATIONS_TABLE": {"Ref": "OperationsTable"},
            "ORCHESTRATOR_ARN": {"Ref": ALIAS},
            "PUBLISHER_SOURCE": {"Ref": "OrderPublisherLedger"},
            "REJECTED_ORDERS_QUEUE_URL": {"Ref": "RejectedOrders"},
            "STACK_ID": {"Ref": "AWS::StackId"},
            "WAIT_SECONDS": {"Ref": "WaitSeconds"},
        }
    )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_a_runtime_with_durable_execution(properties, function):
    assert properties(function)["Runtime"] in ("python3.13", "python3.14")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_logs_json_into_a_group_of_its_own_with_a_retention(properties, function):
    logging = properties(function)["LoggingConfig"]
    assert (logging["LogFormat"], logging["LogGroup"]) == ("JSON", {"Ref": f"{function}Logs"})
    group = properties(f"{function}Logs")
    assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    assert group["KmsKeyId"] == {"Fn::If": ["HasKmsKey", {"Ref": "KmsKeyArn"}, {"Ref": "AWS::NoValue"}]}
    name = properties(function)["FunctionName"]["Fn::Sub"]
    assert group["LogGroupName"] == {"Fn::Sub": f"/aws/lambda/{name}"}


# ── the orchestrator ──────────────────────────────────────────────────────────────────────────────


def test_only_the_orchestrator_is_durable(properties):
    assert properties("DurableOrderProcessor")["DurableConfig"] == {
        "ExecutionTimeout": {"Ref": "ExecutionTimeoutSeconds"},
        "RetentionPeriodInDays": {"Ref": "RetentionDays"},
        "KMSKeyArn": {"Fn::If": ["HasKmsKey", {"Ref": "KmsKeyArn"}, {"Ref": "AWS::NoValue"}]},
    }
    for function in FUNCTIONS.keys() - {"DurableOrderProcessor"}:
        assert "DurableConfig" not in properties(function)


def test_the_alias_prod_is_the_published_version(resources, properties):
    (version,) = [name for name, resource in resources.items() if resource["Type"] == "AWS::Lambda::Version"]
    assert properties(version)["FunctionName"] == {"Ref": "DurableOrderProcessor"}
    assert properties(ALIAS) == {
        "Name": "prod",
        "FunctionName": {"Ref": "DurableOrderProcessor"},
        "FunctionVersion": {"Fn::GetAtt": [version, "Version"]},
    }


def test_a_version_remains_after_the_deployment_that_replaces_it(resources):
    """Executions that began on this version continue with it."""
    (version,) = [resource for resource in resources.values() if resource["Type"] == "AWS::Lambda::Version"]
    assert version["DeletionPolicy"] == "Retain"


@pytest.mark.parametrize(
    ("property_", "other"),
    [
        ("than the execution.\n      Timeout: 60\n", "than the execution.\n      Timeout: 61\n"),
        ("RetentionPeriodInDays: !Ref RetentionDays", "RetentionPeriodInDays: 31"),
    ],
)
def test_a_change_of_configuration_alone_publishes_a_version(resources, tmp_path, property_, other):
    """Otherwise the alias would stay on a version with the old configuration."""
    text = TEMPLATE.read_text()
    assert text.count(property_) == 1
    changed = tmp_path / "template.yaml"
    changed.write_text(text.replace(property_, other))

    def version(found):
        return {name for name, resource in found.items() if resource["Type"] == "AWS::Lambda::Version"}

    assert version(translated(changed)["Resources"]) != version(resources)


def test_another_parameter_value_publishes_a_version(resources, template):
    """CloudFormation replaces a version when its description changes. SAM does not resolve parameters."""
    function = template["Resources"]["DurableOrderProcessor"]["Properties"]
    shared = template["Globals"]["Function"]
    values = json.dumps([function["DurableConfig"], function["Environment"], shared["LoggingConfig"]])
    used = {name for name in template["Parameters"] if f'"Ref": "{name}"' in values}
    assert used == {
        "WaitSeconds",
        "ExecutionTimeoutSeconds",
        "RetentionDays",
        "LedgerRetentionDays",
        "LogLevel",
        "KmsKeyArn",
    }
    (version,) = [found for found in resources.values() if found["Type"] == "AWS::Lambda::Version"]
    assert all(f"${{{name}}}" in version["Properties"]["Description"]["Fn::Sub"] for name in used)
    # Executions that wait on the replaced version continue on it.
    assert version["UpdateReplacePolicy"] == "Retain"


def test_a_failed_execution_has_no_dead_letter_queue(properties):
    """A redelivery from a dead-letter queue would join the failed execution and have no effect."""
    assert "DeadLetterConfig" not in properties("DurableOrderProcessor")
