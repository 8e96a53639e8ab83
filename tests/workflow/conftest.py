"""The pipeline under test: the handlers, loaded as by Lambda, with the defaults of the template."""

import importlib
from dataclasses import replace
from uuid import uuid4

import pytest
from aws_durable_execution_sdk_python_testing.execution import Execution as RunnerExecution
from aws_durable_execution_sdk_python_testing.executor import Executor

from tests.workflow.durable import STACK_ID, EnricherFunction, Pipeline


@pytest.fixture
def pipeline(dynamodb, ledger_table, customers_table, monkeypatch):
    monkeypatch.setenv("LEDGER_TABLE", ledger_table)
    monkeypatch.setenv("CUSTOMERS_TABLE", customers_table)
    monkeypatch.setenv("ENRICHER_ARN", "arn:aws:lambda:us-east-1:123456789012:function:orders-OrderEnricher")
    monkeypatch.setenv("STACK_ID", STACK_ID)
    monkeypatch.setenv("WAIT_SECONDS", "2")
    monkeypatch.setenv("EXECUTION_TIMEOUT_SECONDS", "900")
    monkeypatch.setenv("LEDGER_RETENTION_DAYS", "0")
    enricher_handler = importlib.reload(importlib.import_module("enricher.handler"))
    orchestrator = importlib.reload(importlib.import_module("orchestrator.handler"))
    enricher = EnricherFunction(enricher_handler.handler.__wrapped__)
    monkeypatch.setattr(orchestrator.PIPELINE.enricher, "_client", enricher)
    monkeypatch.setattr(enricher, "exceptions", None, raising=False)

    # The runner waits five real seconds before it invokes again, and stops after five failures. Lambda does neither.
    monkeypatch.setattr(Executor, "RETRY_BACKOFF_SECONDS", 0)
    monkeypatch.setattr(Executor, "MAX_CONSECUTIVE_FAILED_ATTEMPTS", 1000)
    # The runner's ARNs are opaque, but Lambda's contain the name of the execution.
    made = RunnerExecution.new

    def new(input):  # noqa: A002 (the runner's name)
        execution = made(replace(input, invocation_id=str(uuid4())))
        input = execution.start_input  # noqa: A001
        execution.durable_execution_arn = (
            "arn:aws:lambda:us-east-1:123456789012:function:orders-DurableOrderProcessor:1"
            f"/durable-execution/{input.execution_name}/{input.invocation_id}"
        )
        return execution

    monkeypatch.setattr(RunnerExecution, "new", staticmethod(new))
    return Pipeline(orchestrator, dynamodb, enricher, monkeypatch)
