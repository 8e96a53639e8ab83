"""Nothing of an order is in a log, a metric or a key, whatever the order is and whatever fails.

A marker is in every field of an order, in every name that a producer chooses, and in every text around it. All
functions then process it. The order id is the one exception: it is what people search for (docs/security.md).
"""

import contextlib
import importlib
import json
import logging
import sys
import traceback

import pytest

from orchestrator import enricher as enricher_client
from reconciler.pace import Pace
from shared.aws import logs
from shared.errors import FIELD_NAMES, FieldError
from shared.orders.order import Item, Order, parse_order
from tests.conftest import create_table
from tests.integration.executions import ExecutionsOnLambda
from tests.unit.events import sqs_event
from tests.unit.executions import ALIAS, name_of
from tests.unit.transport import Endpoint, refusal, session

MARK = "zqCANARYqz"
AMOUNT, QUANTITY, DAY = "90817263.54", 817264, "2031-07-13"
MARKS = (MARK, MARK.lower(), MARK.upper(), AMOUNT.partition(".")[0], str(QUANTITY), DAY)
OTHERS = {"moto", "werkzeug", "responses", "asyncio", "aws_durable_execution_sdk_python_testing"}
"""Loggers of the tests' own parts, which no function has."""


def order(order_id, **fields):
    """An order with a marker in every field that can have one, and in an attribute's name."""
    return {
        "orderId": order_id,
        "customerId": f"CUST-{MARK}",
        "items": [{"sku": MARK, "quantity": QUANTITY, "unitPrice": AMOUNT}],
        "currency": "EUR",
        "placedAt": f"{DAY}T11:22:33Z",
        "attributes": {MARK: MARK, "note": f"{MARK} {AMOUNT}"},
        **fields,
    }


def paths(data, path=()):
    """The path of each value in JSON data."""
    for step, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield (*path, step)
        if isinstance(value, dict | list):
            yield from paths(value, (*path, step))


def put(data, path, value):
    """A copy of the data with this value at the path."""
    copy = json.loads(json.dumps(data))
    parent = copy
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    return copy


def no_orders():
    """Messages that are no orders, with a marker in each: every field wrong in each way, and hostile texts."""
    valid = order("CANARY-0")
    for path in paths(valid):
        for wrong in (f"{MARK} {MARK * 20}", {MARK: MARK}, [MARK], -QUANTITY, True, None, f"{MARK}\ud800"):
            yield json.dumps(put(valid, path, wrong))
        if isinstance(path[-1], str):
            yield json.dumps(put(valid, (*path[:-1], f"{path[-1]}{MARK}"), MARK))
    whole = json.dumps(valid)
    yield from (whole[:-5], whole + MARK, MARK, f'"{MARK}"', f'["{MARK}"]', f'{{"{MARK}": {{"{MARK}": {QUANTITY}}}}}')
    yield from (f'{{"{MARK}": 1, "{MARK}": 2}}', whole.replace('"items"', f'"{MARK}": 1, "{MARK}": 2, "items"'))
    yield from (
        f"orderId={MARK}&customerId={MARK}",
        f"<order><{MARK}>{MARK}</{MARK}></order>",
        f"{MARK};{AMOUNT}\n" * 9,
    )
    yield json.dumps({"orderId": 'x"' + MARK, "items": {MARK: MARK, "90817263": 1}})
    yield json.dumps({MARK: [valid, {**valid, "customerId": MARK * 20}, {**valid, "customerId": MARK * 20}]})
    yield json.dumps({"Message": json.dumps(valid), "Type": "Notification", "Subject": MARK})
    yield json.dumps({"s3Bucket": MARK, "s3Key": MARK, "detail": {**valid, MARK: MARK}})
    yield json.dumps(
        order("CANARY-0", attributes={f"{MARK}{n}": MARK * 100 for n in range(49)}, items=[{MARK: 1}] * 200)
    )
    yield json.dumps(order("CANARY-0", attributes={"note": MARK * 50_000}))
    yield "[" * 3_000 + MARK


class Functions:
    """Every function of the pipeline, in this process. `printed()` is all that they have written so far."""

    def __init__(self, pipeline, dynamodb, template, monkeypatch, context, log):
        self.pipeline, self.dynamodb, self.context, self.log = pipeline, dynamodb, context, log
        sqs = session().client("sqs")
        for name, value in {
            "ORCHESTRATOR_ARN": ALIAS,
            "REJECTED_ORDERS_QUEUE_URL": sqs.create_queue(QueueName="rejected")["QueueUrl"],
            "OPERATIONS_TABLE": create_table(dynamodb, template, "OperationsTable"),
            "ORDER_ID_PREFIX": "CANARY",
            "EVENT_BUS": "bus",
            "PUBLISHER_SOURCE": "mapping",
        }.items():
            monkeypatch.setenv(name, value)
        for name in ("ingest", "reconciler", "publisher"):
            monkeypatch.delitem(sys.modules, f"{name}.handler", raising=False)
            setattr(self, name, importlib.import_module(f"{name}.handler"))
        monkeypatch.setattr(Pace, "wait", lambda _: None)
        self.on_lambda = ExecutionsOnLambda()
        self.ingest._intake.executions._client = self.on_lambda.client
        self.reconciler._examiner.executions._client = self.on_lambda.client
        self.enricher = importlib.import_module("enricher.handler")
        for module in (self.ingest, self.reconciler, self.publisher, self.enricher, pipeline.module):
            monkeypatch.setattr(module._logger.registered_handler, "stream", log)

    def invoke(self, handler, event):
        """One invocation. Lambda logs the traceback of an error that leaves the handler."""
        try:
            return handler(event, self.context)
        except Exception:  # noqa: BLE001 (whatever it is, Lambda logs it)
            self.log.write(traceback.format_exc())

    def take(self, *bodies):
        """Ingest's work on a batch of messages."""
        batch = sqs_event(*(f"message-{number}" for number in range(len(bodies))))
        for record, body in zip(batch["Records"], bodies, strict=True):
            record["body"] = body
        self.invoke(self.ingest.handler, batch)

    def ended(self, body, status="FAILED", name=None, error="InvalidOrder"):
        """The reconciler's work on an execution that ended with this input."""
        arn = self.on_lambda.end(self.on_lambda.begin(body, name), status, error, "it failed")
        event = sqs_event("event")
        event["Records"][0]["body"] = json.dumps({"detail": {"durableExecutionArn": arn, "status": status}})
        self.invoke(self.reconciler.handler, event)


@pytest.fixture
def functions(pipeline, dynamodb, template, monkeypatch, lambda_context, log):
    return Functions(pipeline, dynamodb, template, monkeypatch, lambda_context, log)


@pytest.fixture
def everything_logged(log, monkeypatch):
    """Every logger of this process writes to `log` at DEBUG, as on Lambda with that level."""
    handler = logging.StreamHandler(log)
    handler.addFilter(lambda record: record.name.partition(".")[0] not in OTHERS)
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", logging.DEBUG)
    monkeypatch.setattr(root, "handlers", [handler])
    monkeypatch.setenv("AWS_LAMBDA_LOG_LEVEL", "DEBUG")


def ingest_takes_everything(functions):
    messages = list(no_orders())
    for first in range(0, len(messages), 100):
        functions.take(*messages[first : first + 100])
    functions.take(json.dumps(order("CANARY-1")), json.dumps(order("OTHER-PREFIX")))
    # The same id with other values everywhere, first without and then with an order in the ledger.
    other = json.dumps(order("CANARY-1", attributes={f"{MARK}2": MARK, MARK: "other"}, currency="USD"))
    functions.take(other)
    functions.pipeline.run_attempt(order("CANARY-1"), 1)
    functions.take(other)
    functions.on_lambda.fail("Invoke", refusal(429, "TooManyRequestsException"), refusal(403, "AccessDeniedException"))
    functions.take(json.dumps(order("CANARY-2")))
    functions.take(json.dumps(order("CANARY-3")))


def the_workflow_fails_in_each_way(functions):
    pipeline = functions.pipeline
    answers = (
        {"errorType": "Broken", "errorMessage": MARK, "stackTrace": [MARK]},
        {"statusCode": 400, "error": MARK, "orderId": MARK},
        {"statusCode": 422, "unusableItem": {"table": MARK, "key": f"{MARK} ", "attribute": 1}},
        {"statusCode": 500, "error": MARK},
        {"statusCode": 200, "orderId": "CANARY-4", "enrichedData": {"customerId": MARK, "totals": MARK}},
        {"statusCode": 200, "orderId": MARK},
    )
    for number, answer in enumerate(answers):
        pipeline.enricher.answers = iter([answer] * 3)
        pipeline.run(order(f"CANARY-1{number}"))
    pipeline.run(order("CANARY-10", currency="USD", attributes={MARK: "other"}))
    for text in (MARK, json.dumps(order("CANARY-5", **{MARK: MARK})), json.dumps(order(f"{MARK} "))):
        pipeline.run(text)


def the_enricher_refuses_and_breaks(functions):
    valid = order("CANARY-6")
    for event in (valid, {**valid, MARK: MARK}, {**valid, "customerId": MARK * 20}, {MARK: MARK}, [MARK], MARK):
        functions.invoke(functions.enricher.handler, event)
    key = {"customerId": {"S": f"CUST-{MARK}"}}
    functions.dynamodb.put_item(TableName="CustomersTable", Item={**key, "tier": {"M": {MARK: {"S": MARK}}}})
    functions.invoke(functions.enricher.handler, valid)
    functions.dynamodb.delete_table(TableName="CustomersTable")
    functions.invoke(functions.enricher.handler, valid)


def the_reconciler_settles_and_rejects(functions):
    for body in no_orders():
        functions.ended(body)
    functions.ended(json.dumps(order("CANARY-7")), name=name_of("CANARY-7"))
    functions.ended(json.dumps(order("CANARY-7", currency="USD", attributes={MARK: "other"})))
    functions.ended(json.dumps(order("CANARY-8", **{MARK: MARK})), "TIMED_OUT", name_of("CANARY-8"), "Broken")
    functions.ended(json.dumps({MARK: MARK}), "SUCCEEDED", name_of("CANARY-9"))
    functions.on_lambda.succeed(parse_order(json.dumps(order("CANARY-9"))), name_of("CANARY-9"))
    functions.invoke(functions.reconciler.sweep, {})


def the_publisher_reads_every_item(functions):
    Endpoint(functions.publisher._publisher.client, "PutEvents", (400, {}, b'{"__type": "InternalFailure"}'))
    functions.pipeline.run_attempt(order("CANARY-20"), 1)
    items = functions.dynamodb.scan(TableName="LedgerTable")["Items"]
    assert items
    for item in items:
        damaged = {**item, "state": {"S": MARK}}
        for image in (item, damaged, {"orderId": item["orderId"], "order": item["order"]}):
            record = {"dynamodb": {"SequenceNumber": "1", "NewImage": image}}
            functions.invoke(functions.publisher.handler, {"Records": [record]})


EVERYTHING = (
    ingest_takes_everything,
    the_workflow_fails_in_each_way,
    the_reconciler_settles_and_rejects,
    the_publisher_reads_every_item,
    the_enricher_refuses_and_breaks,
)
EXPECTED = (
    "order accepted",
    "message rejected",
    "message given back",
    "order not processed",
    "order refused",
    "customer unusable",
    "order enriched",
    "order rejected",
    "order ended by the reconciler",
    "event given back",
    "event not published",
    "not reconciled",
    "Traceback",
    '"MessagesRejected"',
    '"StuckOrders"',
)
"""Lines that show that the functions came to their errors."""


def written(log, capsys):
    """All log lines, with the metrics."""
    return log.getvalue() + capsys.readouterr().out


@pytest.mark.usefixtures("everything_logged")
def test_no_log_line_metric_or_key_has_anything_of_an_order(functions, log, capsys):
    for act in EVERYTHING:
        act(functions)
    text = written(log, capsys)
    assert [line for line in text.splitlines() if any(mark in line for mark in MARKS)][:3] == []
    assert [missing for missing in EXPECTED if missing not in text] == []
    for table in ("LedgerTable", "OperationsTable"):
        schema = functions.dynamodb.describe_table(TableName=table)["Table"]["AttributeDefinitions"]
        keys = {name["AttributeName"] for name in schema}
        items = functions.dynamodb.scan(TableName=table)["Items"]
        assert items
        shown = json.dumps([{key: item[key] for key in keys & item.keys()} for item in items])
        assert not any(mark in shown for mark in MARKS)


def libraries_log_requests(monkeypatch):
    for name in logs._VERBOSE_LIBRARIES:
        monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
        logging.getLogger(name).manager._clear_cache()
    logging.getLogger("botocore").setLevel(logging.DEBUG)


def names_are_logged(monkeypatch):
    monkeypatch.setattr(FieldError, "logged_field", property(lambda self: self.field))


def messages_of_the_enricher_are_kept(monkeypatch):
    monkeypatch.setattr(enricher_client, "_error_type", lambda answer: answer.decode())


def reasons_of_the_enricher_are_kept(monkeypatch):
    monkeypatch.setattr(enricher_client, "_reason", str)


@pytest.mark.usefixtures("everything_logged")
@pytest.mark.parametrize(
    ("unmask", "act"),
    [
        (libraries_log_requests, the_enricher_refuses_and_breaks),
        (names_are_logged, ingest_takes_everything),
        (names_are_logged, the_reconciler_settles_and_rejects),
        (names_are_logged, the_enricher_refuses_and_breaks),
        (messages_of_the_enricher_are_kept, the_workflow_fails_in_each_way),
        (reasons_of_the_enricher_are_kept, the_workflow_fails_in_each_way),
    ],
    ids=lambda part: part.__name__,
)
def test_without_a_mask_the_marker_is_found(functions, log, capsys, monkeypatch, unmask, act):
    """The test above would see what a mask hides."""
    unmask(monkeypatch)
    with contextlib.suppress(AssertionError):
        act(functions)
    assert MARK in written(log, capsys)


def test_the_names_that_a_log_may_have_are_those_of_an_orders_fields():
    names = {field.alias or name for model in (Order, Item) for name, field in model.model_fields.items()}
    assert names == FIELD_NAMES


@pytest.mark.parametrize(
    ("field", "logged"),
    [
        ("", ""),
        ("orderId", "orderId"),
        ("items.12.unitPrice", "items.12.unitPrice"),
        ("attributes.jane@example.com", "attributes.*.*"),
        ("attributes.5551234", "attributes.*"),
        ("items.55512345.sku", "items.*.sku"),
        ("jane", "*"),
    ],
)
def test_a_name_of_the_producers_is_a_star_in_a_log(field, logged):
    assert FieldError(field, "reason").logged_field == logged
