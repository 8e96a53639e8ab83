"""Each fault does what its docstring says, on a running stack."""

import json
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from botocore.loaders import Loader

from durable_local import LocalStackError, local_stack
from durable_local.faults import (
    Answer,
    Cut,
    Delay,
    Drop,
    Fail,
    Hold,
    Kill,
    Orphan,
    Point,
    Redeliver,
    Rule,
    Stall,
    Twice,
    Withhold,
)
from durable_local.faults.operations import operation_of, resources_of, unknown_operation
from durable_local.faults.rules import EVENT_SOURCE, STATUS_CHANGE

FIXTURE = Path(__file__).parent / "fixture" / "template.yaml"
ONCE = Config(retries={"total_max_attempts": 1})
SHORT_SECONDS = 0.5


@pytest.fixture(scope="module")
def faulty():
    with local_stack(template=FIXTURE, stack_name="faulty", faults=True) as running:
        yield running


@pytest.fixture
def faults(faulty):
    yield faulty.faults
    faulty.faults.clear()


@pytest.fixture(scope="module")
def dynamodb(faulty):
    return faulty.client("dynamodb", ONCE)


@pytest.fixture(scope="module")
def functions(faulty):
    return faulty.client("lambda", ONCE)


@pytest.fixture
def item(faulty, dynamodb):
    """An item of the table: its id, how to increment it, and its count."""

    class Item:
        id = f"item-{uuid4().hex[:12]}"

        def count(self, client=dynamodb):
            updated = client.update_item(
                TableName=faulty.outputs["TableName"],
                Key={"id": {"S": self.id}},
                UpdateExpression="ADD n :one",
                ExpressionAttributeValues={":one": {"N": "1"}},
                ReturnValues="UPDATED_NEW",
            )
            return int(updated["Attributes"]["n"]["N"])

        @property
        def counted(self):
            found = dynamodb.get_item(TableName=faulty.outputs["TableName"], Key={"id": {"S": self.id}})
            return int(found.get("Item", {}).get("n", {"N": "0"})["N"])

        def rule(self, action, **more):
            return Rule(action, "dynamodb", "UpdateItem", text=self.id, **more)

    return Item()


@pytest.fixture
def message(faulty, functions, dynamodb):
    """Sends a message to the function that writes it into the table; returns whether it is there."""

    class Message:
        id = f"message-{uuid4().hex[:12]}"

        def consume(self):
            event = {"Records": [{"messageId": self.id, "body": "body"}]}
            name = faulty.physical_name("Consumer")
            answer = functions.invoke(FunctionName=name, Payload=json.dumps(event).encode())
            return answer.get("FunctionError"), json.loads(answer["Payload"].read())

        @property
        def written(self):
            found = dynamodb.get_item(TableName=faulty.outputs["TableName"], Key={"id": {"S": self.id}})
            return "Item" in found

        def rule(self, action, **more):
            return Rule(action, "dynamodb", "PutItem", function="Consumer", text=self.id, **more)

    return Message()


@pytest.fixture
def start(faulty, functions):
    """Starts an execution with a unique name; returns the name."""

    def started(function, name=None, **payload):
        name = name or f"run-{uuid4().hex[:12]}"
        functions.invoke(
            FunctionName=faulty.outputs[function],
            InvocationType="Event",
            DurableExecutionName=name,
            Payload=json.dumps(payload).encode(),
        )
        return name

    return started


@pytest.fixture
def ended(functions, faulty, eventually):
    """Waits until the execution of that name has ended; returns its status."""

    def wait(function, name):
        def look():
            [execution] = functions.list_durable_executions_by_function(
                FunctionName=faulty.physical_name(function), DurableExecutionName=name
            )["DurableExecutions"]
            return execution["Status"] if execution["Status"] != "RUNNING" else None

        return eventually(look)

    return wait


def process_state(pid):
    """The process state of `ps`: T for a stopped process, empty for one that has ended."""
    listed = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip()[:1]


# -- which requests ----------------------------------------------------------------------------------------


def test_a_stack_without_faults_refuses_rules(stack):
    with pytest.raises(LocalStackError, match="faults=True"):
        stack.faults.add(Rule(Drop(), STATUS_CHANGE))


@pytest.mark.parametrize(
    ("action", "service"),
    [
        (Drop(), "dynamodb"),
        (Redeliver(), "sqs"),
        (Kill(), STATUS_CHANGE),
        (Delay(1, Point.APPLIED), STATUS_CHANGE),
        (Twice(), EVENT_SOURCE),
    ],
    ids=str,
)
def test_an_action_that_a_service_does_not_allow_is_refused(action, service):
    with pytest.raises(ValueError, match=service):
        Rule(action, service)


def test_durable_operations_and_invoke_are_found_by_method_and_path():
    operations = Loader().load_service_model("lambda", "service-2")["operations"]
    names = [name for name in operations if "Durable" in name or name.startswith("Invoke")]
    assert {"CheckpointDurableExecution", "GetDurableExecution", "Invoke"} <= set(names)
    for name in names:
        http = operations[name]["http"]
        path = re.sub(r"\{[^}]+\}", "a%3Ab%2Fc", http["requestUri"])
        assert operation_of(http["method"], path, {}) == ("lambda", name)


def test_a_rule_skips_some_requests_and_applies_to_the_next(faults, item):
    rule = faults.add(item.rule(Fail(500, "InternalServerError"), skip=1, times=2, label="F12"))
    assert item.count() == 1
    for _ in range(2):
        with pytest.raises(ClientError):
            item.count()
    assert item.count() == 2
    injected = faults.injected(rule)
    assert [(done.label, done.request.operation) for done in injected] == [("F12", "UpdateItem")] * 2
    assert all(item.id in done.request.text for done in injected)


def test_a_rule_matches_requests_with_all_its_texts(faults, item):
    faults.add(Rule(Fail(500, "InternalServerError"), "dynamodb", text=(item.id, "not in the request")))
    assert item.count() == 1
    faults.add(Rule(Fail(500, "InternalServerError"), "dynamodb", text=(item.id, "ADD n :one")))
    with pytest.raises(ClientError):
        item.count()


def test_every_matching_rule_counts_a_request(faults, item):
    """The n-th request of a rule therefore does not depend on other rules."""
    first, second = faults.add_all([item.rule(Cut()), item.rule(Fail(500, "InternalServerError"), skip=1)])
    with pytest.raises(ConnectionClosedError):
        item.count()
    with pytest.raises(ClientError):
        item.count()
    assert [len(faults.injected(rule)) for rule in (first, second)] == [1, 1]


def test_cleared_rules_no_longer_apply(faults, item):
    faults.add(item.rule(Fail(500, "InternalServerError"), times=None))
    with pytest.raises(ClientError):
        item.count()
    faults.clear()
    assert item.count() == 1


def test_requests_of_an_execution_are_listed_in_order_with_sender(faulty, faults, start, ended):
    name = start("Durable")
    assert ended("Durable", name) == "SUCCEEDED"
    begun, *after = faults.requests(name)
    assert (begun.service, begun.operation, begun.function, begun.pid) == ("lambda", "Invoke", None, None)
    sent = [request for request in after if request.function]
    assert {(request.service, request.operation) for request in sent} == {("lambda", "CheckpointDurableExecution")}
    assert {request.function for request in sent} == {faulty.physical_name("Durable")}
    assert {request.pid for request in sent} <= set(faulty.workers("Durable"))


# -- refused, late, lost, doubled --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"), [(400, "ProvisionedThroughputExceededException"), (500, "InternalServerError")]
)
def test_dynamodb_refuses_with_its_own_error_and_writes_nothing(faults, item, dynamodb, status, code):
    faults.add(item.rule(Fail(status, code)))
    with pytest.raises(dynamodb.exceptions.from_code(code)) as refused:
        item.count()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert item.counted == 0


@pytest.mark.parametrize(
    ("status", "code"), [(429, "TooManyRequestsException"), (500, "ServiceException"), (503, "ServiceUnavailable")]
)
def test_lambda_refuses_a_start_with_its_own_error_and_starts_nothing(faults, functions, start, status, code):
    faults.add(Rule(Fail(status, code), "lambda", "Invoke", text="run-"))
    with pytest.raises(ClientError) as refused:
        start("Durable")
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert isinstance(refused.value, functions.exceptions.from_code(code))


def test_a_queue_refuses_with_its_own_error(faulty, faults):
    faults.add(Rule(Fail(403, "RequestThrottled"), "sqs", "SendMessage"))
    with pytest.raises(ClientError) as refused:
        faulty.client("sqs", ONCE).send_message(QueueUrl=faulty.outputs["FeedQueueUrl"], MessageBody="refused")
    assert refused.value.response["Error"]["Code"] == "RequestThrottled"


@pytest.mark.parametrize(
    ("refusal", "end"),
    [
        (Fail(400, "InvalidParameterValueException", "Invalid checkpoint token"), "SUCCEEDED"),
        (Fail(403, "AccessDeniedException"), "FAILED"),
    ],
    ids=["stale token", "not allowed"],
)
def test_the_durable_sdk_understands_a_refused_checkpoint(faults, start, ended, refusal, end):
    """After a stale token the invocation is retried. Any other 4xx ends the execution."""
    rule = faults.add(Rule(refusal, "lambda", "CheckpointDurableExecution", function="Durable"))
    assert ended("Durable", start("Durable")) == end
    assert len(faults.injected(rule)) == 1


def test_an_execution_continues_after_a_checkpoint_response_without_a_token(faults, start, ended):
    """The SDK ends the invocation as PENDING, and the execution continues in a later one."""
    rule = faults.add(Rule(Withhold("CheckpointToken"), "lambda", "CheckpointDurableExecution", function="Durable"))
    assert ended("Durable", start("Durable")) == "SUCCEEDED"
    assert len(faults.injected(rule)) == 1


def test_a_field_is_missing_from_the_response_of_a_request_that_is_applied(faults, item, dynamodb):
    faults.add(item.rule(Withhold("Attributes")))
    with pytest.raises(KeyError, match="Attributes"):
        item.count()
    assert item.counted == 1


def test_an_answer_replaces_the_functions_answer(faulty, faults, functions):
    error = Answer('{"errorType": "Runtime.ExitError"}', headers={"X-Amz-Function-Error": "Unhandled"})
    name = faulty.outputs["Plain"]
    faults.add_all(
        [Rule(Answer("not JSON {"), "lambda", "Invoke", text=name), Rule(error, "lambda", "Invoke", text=name, skip=1)]
    )
    assert functions.invoke(FunctionName=name)["Payload"].read() == b"not JSON {"
    answer = functions.invoke(FunctionName=name)
    assert (answer["FunctionError"], json.loads(answer["Payload"].read())["errorType"]) == (
        "Unhandled",
        "Runtime.ExitError",
    )
    assert "process" in json.loads(functions.invoke(FunctionName=name)["Payload"].read())


@pytest.mark.parametrize("point", [Point.BEFORE, Point.APPLIED])
def test_a_request_is_delayed(faults, item, point):
    faults.add(item.rule(Delay(SHORT_SECONDS, point)))
    began = time.monotonic()
    assert item.count() == 1
    assert time.monotonic() - began >= SHORT_SECONDS


def test_a_delayed_request_is_applied_after_its_sender_has_disconnected(faulty, faults, item, eventually):
    faults.add(item.rule(Delay(2 * SHORT_SECONDS)))
    with pytest.raises(ReadTimeoutError):
        item.count(faulty.client("dynamodb", ONCE.merge(Config(read_timeout=SHORT_SECONDS))))
    eventually(lambda: item.counted == 1)


@pytest.mark.parametrize(("point", "applied"), [(Point.BEFORE, 0), (Point.APPLIED, 1)])
def test_a_request_is_held_until_its_rule_is_released(faults, item, point, applied):
    rule = faults.add(item.rule(Hold(point), times=2))
    with ThreadPoolExecutor() as threads:
        counting = [threads.submit(item.count) for _ in range(2)]
        faults.wait(rule, times=2)
        assert item.counted == 2 * applied
        assert not any(count.done() for count in counting)
        faults.release(rule)
        assert sorted(count.result() for count in counting) == [1, 2]


def test_clearing_the_rules_releases_held_requests(faults, item):
    rule = faults.add(item.rule(Hold()))
    with ThreadPoolExecutor() as threads:
        counting = threads.submit(item.count)
        faults.wait(rule)
        faults.clear()
        assert counting.result() == 1


@pytest.mark.parametrize(("point", "applied"), [(Point.BEFORE, 0), (Point.APPLIED, 1)])
def test_a_connection_breaks_before_the_request_or_before_its_answer(faults, item, point, applied):
    faults.add(item.rule(Cut(point)))
    with pytest.raises(ConnectionClosedError):
        item.count()
    assert item.counted == applied


def test_a_request_is_applied_twice_and_answered_once(faults, item):
    faults.add(item.rule(Twice()))
    assert item.count() == 2
    assert item.counted == 2


def test_a_request_is_applied_again_after_its_answer(faults, item, eventually):
    faults.add(item.rule(Twice(after=SHORT_SECONDS)))
    assert item.count() == 1
    eventually(lambda: item.counted == 2)


# -- workers -----------------------------------------------------------------------------------------------


def test_the_workers_of_a_function_are_found_by_its_logical_id_and_by_its_name(faulty, functions):
    answer = functions.invoke(FunctionName=faulty.outputs["Plain"])
    process = json.loads(answer["Payload"].read())["process"]
    assert process in faulty.workers("Plain")
    assert process in faulty.workers(faulty.physical_name("Plain"))
    assert process not in faulty.workers("Consumer")


@pytest.mark.parametrize(("point", "applied"), [(Point.BEFORE, False), (Point.APPLIED, True), (Point.ANSWERED, True)])
def test_the_worker_that_made_a_request_is_killed(faults, message, eventually, point, applied):
    rule = faults.add(message.rule(Kill(point)))
    message.consume()  # after the answer the handler may be done before it is killed
    [killed] = faults.wait(rule)
    eventually(lambda: process_state(killed.request.pid) in {"", "Z"})
    assert message.written is applied
    assert message.consume()[0] is None
    assert message.written


def test_a_worker_killed_before_its_answer_is_a_function_error(faults, message):
    faults.add(message.rule(Kill(Point.APPLIED)))
    assert message.consume()[0] == "Unhandled"


def test_a_kill_ends_only_the_worker_that_made_the_request(faults, start, ended):
    """Two executions at once: the worker of one is killed, and the other continues."""
    spared, target = (f"{word}-{uuid4().hex[:12]}" for word in ("spared", "target"))
    checkpoint = ("lambda", "CheckpointDurableExecution", "Durable")
    held, killed = faults.add_all([Rule(Hold(), *checkpoint, text=spared), Rule(Kill(), *checkpoint, text=target)])
    start("Durable", spared)
    faults.wait(held)
    start("Durable", target)
    faults.wait(killed)
    assert ended("Durable", target) == "SUCCEEDED"
    faults.release(held)
    assert ended("Durable", spared) == "SUCCEEDED"
    senders = [{request.pid for request in faults.requests(name) if request.function} for name in (spared, target)]
    assert [len(pids) for pids in senders] == [1, 2]


def test_a_request_without_a_worker_kills_no_worker(faults, item):
    rule = faults.add(item.rule(Kill(Point.APPLIED)))
    assert item.count() == 1
    assert faults.injected(rule) == []


def test_a_killed_workers_request_is_applied_later(faults, message, eventually):
    faults.add(message.rule(Orphan(after=SHORT_SECONDS)))
    assert message.consume()[0] == "Unhandled"
    assert not message.written
    eventually(lambda: message.written)


@pytest.mark.parametrize(("point", "applied"), [(Point.BEFORE, False), (Point.APPLIED, True), (Point.ANSWERED, True)])
def test_the_worker_that_made_a_request_stops_and_continues(faults, message, eventually, point, applied):
    rule = faults.add(message.rule(Stall(2, point)))
    with ThreadPoolExecutor() as threads:
        consuming = threads.submit(message.consume)
        [stalled] = faults.wait(rule)
        eventually(lambda: process_state(stalled.request.pid) == "T" or consuming.done())
        assert message.written is applied
        assert consuming.result() == (None, {"batchItemFailures": []})
    assert message.written
    eventually(lambda: process_state(stalled.request.pid) not in ("T", ""))


# -- what MiniStack does by itself -------------------------------------------------------------------------


@pytest.fixture
def deliver(faulty, faults, eventually):
    """Sends a message and waits until the queue is empty; returns how often the function handled the message."""
    sqs, url = faulty.client("sqs"), faulty.outputs["QueueUrl"]

    def handled(body, times):
        sqs.send_message(QueueUrl=url, MessageBody=body)
        eventually(lambda: len([r for r in faults.requests(body) if r.operation == "PutItem"]) >= times)
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        eventually(
            lambda: {*sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()} == {"0"}
        )
        return len([request for request in faults.requests(body) if request.operation == "PutItem"])

    return handled


def test_a_message_without_a_rule_is_delivered_once(deliver):
    assert deliver(f"once {uuid4().hex}", 1) == 1


def test_a_message_whose_deletion_fails_is_delivered_again(faults, deliver):
    body = f"not deleted {uuid4().hex}"
    rule = faults.add(Rule(Redeliver(), EVENT_SOURCE, "DeleteMessage", function="Consumer", text=body))
    assert deliver(body, 2) == 2
    assert len(faults.injected(rule)) == 1


def test_a_message_is_delivered_again_during_its_first_delivery(faults, deliver):
    body = f"visible {uuid4().hex}"
    held = faults.add(Rule(Hold(), "dynamodb", "PutItem", function="Consumer", text=body, times=2))
    faults.add(Rule(Redeliver(), EVENT_SOURCE, "ReceiveMessage", text=body))
    with ThreadPoolExecutor() as threads:
        delivering = threads.submit(deliver, body, 2)
        both = faults.wait(held, times=2)
        faults.release(held)
        assert delivering.result() == 2
    assert len({injected.request.pid for injected in both}) == 2


def test_a_batch_is_delivered_late(faults, deliver):
    body = f"late {uuid4().hex}"
    rule = faults.add(Rule(Delay(SHORT_SECONDS), EVENT_SOURCE, "ReceiveMessage", text=body))
    assert deliver(body, 1) == 1
    assert len(faults.injected(rule)) == 1


@pytest.fixture
def reported(faulty, eventually):
    """Waits for a number of status events of an execution; returns the statuses in order of arrival."""
    sqs, url = faulty.client("sqs"), faulty.outputs["StatusChangesUrl"]
    seen = []

    def statuses(name, count):
        def look():
            for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
                seen.append(json.loads(message["Body"])["detail"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            found = [detail["status"] for detail in seen if detail["durableExecutionName"] == name]
            return found if len(found) >= count else None

        return eventually(look)

    return statuses


def test_a_status_change_is_lost(faults, start, ended, reported):
    rule = faults.add(Rule(Drop(), STATUS_CHANGE, text='"status": "RUNNING"'))
    lost, whole = start("Brief"), None
    assert ended("Brief", lost) == "SUCCEEDED"
    whole = start("Brief")
    assert reported(whole, 2) == ["RUNNING", "SUCCEEDED"]
    assert reported(lost, 1) == ["SUCCEEDED"]
    assert lost in faults.injected(rule)[0].request.text


def test_a_status_change_is_sent_twice(faults, start, reported):
    faults.add(Rule(Twice(after=SHORT_SECONDS), STATUS_CHANGE, text='"status": "SUCCEEDED"'))
    assert reported(start("Brief"), 3) == ["RUNNING", "SUCCEEDED", "SUCCEEDED"]


def test_a_delayed_status_change_is_sent_after_the_next(faults, start, ended, reported):
    faults.add(Rule(Delay(2), STATUS_CHANGE, text='"status": "RUNNING"'))
    name = start("Brief", callback=0)
    ended("Brief", name)
    assert reported(name, 2) == ["RUNNING", "TIMED_OUT"]


def test_a_held_status_change_is_sent_at_its_release(faults, start, ended, reported):
    rule = faults.add(Rule(Hold(), STATUS_CHANGE, text='"status": "RUNNING"'))
    name = start("Brief")
    assert ended("Brief", name) == "SUCCEEDED"
    assert reported(name, 1) == ["SUCCEEDED"]
    faults.release(rule)
    assert reported(name, 2) == ["SUCCEEDED", "RUNNING"]


def test_a_released_rule_no_longer_applies(faults, item):
    rule = faults.add(item.rule(Fail(500, "InternalServerError"), times=None))
    with pytest.raises(ClientError):
        item.count()
    faults.release(rule)
    assert item.count() == 1
    assert len(faults.injected(rule)) == 1


def test_injections_are_read_from_a_position(faults, item):
    faults.add(item.rule(Cut(), times=None, label="seen"))
    seen = len(faults.injected())
    with pytest.raises(ConnectionClosedError):
        item.count()
    assert [injection.label for injection in faults.injected(after=seen)] == ["seen"]


@pytest.mark.parametrize(
    ("service", "path", "query", "body", "resources"),
    [
        ("dynamodb", "/", "", {"TableName": "T"}, {"T"}),
        ("dynamodb", "/", "", {"TableName": "T", "IndexName": "I"}, {"T/index/I"}),
        ("dynamodb", "/", "", {"RequestItems": {"T": {}, "U": {}}}, {"T", "U"}),
        ("sqs", "/", "", {"QueueUrl": "http://127.0.0.1:4566/000000000000/Q"}, {"Q"}),
        ("events", "/", "", {"Entries": [{"EventBusName": "B"}, {}]}, {"B", "default"}),
        ("lambda", "/2015-03-31/functions/F/invocations", "Qualifier=prod", None, {"F:prod"}),
        ("lambda", "/2015-03-31/event-source-mappings/M", "", None, {"M"}),
        (
            "lambda",
            "/2025-12-01/durable-executions/arn%3Aaws%3A1%2Fdurable/checkpoint",
            "",
            None,
            {"arn:aws:1/durable"},
        ),
        ("sts", "/", "", None, set()),
    ],
)
def test_a_call_names_its_resources(service, path, query, body, resources):
    assert resources_of(service, path, query, json.dumps(body).encode()) == resources


def test_a_call_of_a_service_without_faults_is_named_by_its_signature():
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=KEY/20260101/eu-central-2/sts/aws4_request, Signature=1"}
    assert unknown_operation("POST", "/", signed) == ("sts", "POST /")
    assert unknown_operation("GET", "/bucket", {}) == ("?", "GET /bucket")
