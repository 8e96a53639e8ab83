"""A stack answers its user's programs, and neither web pages nor other users of the machine."""

import base64
import http.client
import io
import json
import re
import socket
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from durable_local import keys, local_stack, processes
from durable_local.gateway.incoming import MAX_BODY_BYTES
from durable_local.settings import REGION

NO_RETRIES = Config(retries={"total_max_attempts": 1}, proxies={})
EVIL = "http://evil.example"
SMALL = Path(__file__).parent / "fixture" / "small.yaml"


def function_zip(marker):
    """Code that leaves a file at `marker` when it runs."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("attack.py", f"def handler(event, context):\n    open({str(marker)!r}, 'w').close()\n")
    return base64.b64encode(content.getvalue()).decode()


@dataclass
class Answer:
    status: int
    headers: dict = field(default_factory=dict)
    body: bytes = b""


@pytest.fixture
def ministack_port(stack):
    """The port on which MiniStack listens, as the front door's log says."""
    return int(re.search(r"MiniStack on port (\d+)", stack.settings.log.read_text())[1])


@pytest.fixture
def send(stack):
    """Sends one request exactly as given: no header is added but Content-Length, and Host unless `headers` has one."""

    def request(method, path, headers=None, body=b"", port=None):
        headers = headers or {}
        port = port or stack.settings.port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    return request


@pytest.fixture
def signed(stack):
    """The header of a request to a service with the stack's own access key, or another."""

    def authorization(service, key=None):
        key = key or stack.environment["AWS_ACCESS_KEY_ID"]
        scope = f"{key}/20260101/{REGION}/{service}/aws4_request"
        return {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}

    return authorization


def names(stack):
    pages = stack.client("lambda").get_paginator("list_functions").paginate()
    return {function["FunctionName"] for page in pages for function in page["Functions"]}


@pytest.mark.parametrize("has_key", [False, True], ids=["without a key", "with the stack's key"])
@pytest.mark.parametrize("door", ["endpoint", "MiniStack"])
def test_a_web_page_creates_and_runs_no_function(stack, send, signed, ministack_port, tmp_path, door, has_key):
    port = ministack_port if door == "MiniStack" else stack.settings.port
    foreign = {"Host": f"evil.example:{port}", "Origin": EVIL, "Content-Type": "text/plain"}
    foreign |= signed("lambda") if has_key else {}
    function = {
        "FunctionName": "attack",
        "Runtime": "python3.13",
        "Role": "arn:aws:iam::000000000000:role/any",
        "Handler": "attack.handler",
        "Code": {"ZipFile": function_zip(tmp_path / "ran")},
    }
    created = send("POST", "/2015-03-31/functions", foreign, json.dumps(function).encode(), port)
    invoked = send("POST", "/2015-03-31/functions/attack/invocations", foreign, b"{}", port)
    assert (created.status, invoked.status) == (403, 403)
    assert "attack" not in names(stack)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("door", ["endpoint", "MiniStack"])
@pytest.mark.parametrize(
    "path", ["/_ministack/reset", "/%5Fministack/reset", "//_ministack/reset", "/_localstack/state"]
)
def test_no_request_resets_the_stack(stack, send, signed, ministack_port, door, path):
    queue = stack.client("sqs").create_queue(QueueName="outlives-a-reset")["QueueUrl"]
    port = ministack_port if door == "MiniStack" else stack.settings.port
    assert send("POST", path, signed("sqs"), port=port).status == 403
    assert stack.client("sqs").get_queue_url(QueueName="outlives-a-reset")["QueueUrl"] == queue


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:{port}"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
        {"Host": "localhost.evil.example:{port}"},
        {"Host": ""},
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://localhost:{port}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=lambda headers: " ".join(headers) + " " + " ".join(headers.values()),
)
def test_a_request_from_another_site_is_refused_with_one_line_in_the_log(stack, send, signed, headers):
    headers = {name: value.format(port=stack.settings.port) for name, value in headers.items()}
    before = stack.settings.log.read_text().splitlines()
    answer = send("GET", "/2015-03-31/functions?marker=elsewhere", {**signed("lambda"), **headers})
    assert answer.status == 403
    [line] = stack.settings.log.read_text().splitlines()[len(before) :]
    [name] = headers
    assert f"refused: {name} is " in line
    assert line.endswith("(GET '/2015-03-31/functions?marker=elsewhere')")


def test_a_host_given_twice_is_refused(stack):
    port = stack.settings.port
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(
            f"GET /_local_stack/health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nHost: evil.example\r\n\r\n".encode()
        )
        status = connection.recv(1024).split()[1]
    assert status in {b"400", b"403"}


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_users_own_requests_are_accepted(stack, send, signed, site):
    port = stack.settings.port
    for host in ("127.0.0.1", "localhost"):
        own = {"Host": f"{host}:{port}", "Origin": f"http://{host}:{port}", "Sec-Fetch-Site": site}
        assert send("GET", "/2015-03-31/functions", {**signed("lambda"), **own}).status == 200


@pytest.mark.parametrize("path", ["/2015-03-31/functions", "/_local_stack/health", "/restapis/a/b/_user_request_/c"])
def test_a_preflight_is_refused(send, signed, path):
    answer = send("OPTIONS", path, {**signed("lambda"), "Access-Control-Request-Method": "POST"})
    assert answer.status == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_no_answer_allows_another_site_to_read_it(send, signed):
    listed = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json-1.0"}
    for answer in (
        send("POST", "/", {**signed("dynamodb"), **listed}, b"{}"),
        send("GET", "/2015-03-31/functions", signed("lambda")),
        send("GET", "/", signed("s3")),
        send("GET", "/_local_stack/health"),
        send("GET", "/nothing", signed("s3")),
    ):
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


ASKED = [
    ("lambda", "list_functions", {}, "UnrecognizedClientException", 403),
    ("lambda", "get_durable_execution", {"DurableExecutionArn": "any"}, "UnrecognizedClientException", 403),
    ("dynamodb", "list_tables", {}, "UnrecognizedClientException", 400),
    ("events", "list_rules", {}, "UnrecognizedClientException", 400),
    ("sqs", "list_queues", {}, "InvalidClientTokenId", 403),
    ("sns", "list_topics", {}, "InvalidClientTokenId", 403),
    ("sts", "get_caller_identity", {}, "InvalidClientTokenId", 403),
    ("cloudformation", "describe_stacks", {}, "InvalidClientTokenId", 403),
    ("s3", "list_buckets", {}, "InvalidAccessKeyId", 403),
]


@pytest.mark.parametrize("key", ["test", "000000000000", "AKIAIOSFODNN7EXAMPLE"])
@pytest.mark.parametrize(("service", "operation", "request_", "code", "status"), ASKED, ids=str)
def test_an_unknown_key_gets_the_error_of_the_called_service(stack, key, service, operation, request_, code, status):
    client = boto3.session.Session().client(
        service,
        endpoint_url=stack.endpoint,
        region_name=REGION,
        aws_access_key_id=key,
        aws_secret_access_key=stack.environment["AWS_SECRET_ACCESS_KEY"],
        config=NO_RETRIES,
    )
    with pytest.raises(ClientError) as refused:
        getattr(client, operation)(**request_)
    error = refused.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert "source .local/env" in error["Error"]["Message"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "body"),
    [
        ("GET", "/2015-03-31/functions", {}, b""),
        ("POST", "/", {"X-Amz-Target": "DynamoDB_20120810.ListTables"}, b"{}"),
        ("POST", "/", {"Content-Type": "application/x-www-form-urlencoded"}, b"Action=DescribeStacks"),
        ("GET", "/bucket/key", {}, b""),
        ("GET", "/health", {}, b""),
        ("GET", "/_aws/lambda-url/an-id/", {}, b""),
        # Variants of paths that need no key.
        ("POST", "/%5Flocal_stack/health", {"X-Amz-Target": "DynamoDB_20120810.ListTables"}, b"{}"),
        ("POST", "/_local_stack/health?", {"X-Amz-Target": "DynamoDB_20120810.ListTables"}, b"{}"),
        ("POST", "/_local_stack/health/", {"X-Amz-Target": "DynamoDB_20120810.ListTables"}, b"{}"),
        ("POST", "/restapis/a/b#/_user_request_/c", {"X-Amz-Target": "DynamoDB_20120810.ListTables"}, b"{}"),
        ("POST", "/a/restapis/b/c/_user_request_/", {"X-Amz-Target": "DynamoDB_20120810.ListTables"}, b"{}"),
        ("POST", "/restapis/a/b/_user_request_/@connections/c", {}, b"{}"),
        ("PUT", "/_ministack/cfn-response/../reset", {}, b"{}"),
        ("POST", "/_ministack/cfn-response/any", {}, b"{}"),
        ("POST", "/_local_stack/health", {"X-Amz-Target": "DynamoDB_20120810.ListTables"}, b"{}"),
        ("CONNECT", "/_aws/execute-api/a/b", {"X-Amz-Target": "TrentService.CreateKey"}, b""),
        ("TRACE", "/restapis/a/b/_user_request_/c", {}, b""),
        # Keys that no AWS client sends.
        ("GET", "/?X-Amz-Credential=%0d", {}, b""),
        ("GET", "/?X-Amz-Credential=%00" + "A" * 20, {}, b""),
        ("GET", "/", {"Authorization": "AWS4-X Credential=\xff\xff\xff\xff\xff\xff\xff\xff/"}, b""),
        ("POST", "/_local_stack/faults/rules", {keys.SECRET_HEADER: "\xff"}, b"[]"),
    ],
)
def test_a_request_without_a_key_is_refused(stack, send, method, path, headers, body):
    answer = send(method, path, headers, body)
    assert answer.status in {400, 403}
    assert b"source .local/env" in answer.body or b"refused this request" in answer.body


def test_a_path_that_needs_no_key_reaches_no_other_service(send):
    """Also with a header that would name one: MiniStack answers for the API, which does not exist."""
    listing = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json-1.0"}
    answer = send("POST", "/restapis/a/b/_user_request_/c", listing, b"{}")
    assert answer.status in {403, 404}
    assert b"TableNames" not in answer.body


def test_health_needs_no_key(stack, send):
    assert json.loads(send("GET", "/_local_stack/health").body)["directory"] == str(stack.settings.directory)


def test_a_presigned_url_has_its_key(stack, send):
    s3 = stack.client("s3")
    s3.create_bucket(Bucket="presigned", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="presigned", Key="a key", Body=b"an object")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "presigned", "Key": "a key"})
    path = url.removeprefix(stack.endpoint)
    assert send("GET", path).body == b"an object"
    stolen = path.replace(stack.environment["AWS_ACCESS_KEY_ID"], "AKIAIOSFODNN7EXAMPLE")
    assert b"InvalidAccessKeyId" in send("GET", stolen).body


def test_keys_of_the_stacks_own_sts_and_iam_are_accepted(stack, send, signed):
    role = "arn:aws:iam::000000000000:role/operator"
    assumed = stack.client("sts").assume_role(RoleArn=role, RoleSessionName="tests")["Credentials"]
    iam = stack.client("iam")
    iam.create_user(UserName="producer")
    created = iam.create_access_key(UserName="producer")["AccessKey"]
    for key in (assumed["AccessKeyId"], created["AccessKeyId"]):
        assert send("GET", "/2015-03-31/functions", signed("lambda", key)).status == 200
    iam.update_access_key(UserName="producer", AccessKeyId=created["AccessKeyId"], Status="Inactive")
    assert send("GET", "/2015-03-31/functions", signed("lambda", created["AccessKeyId"])).status == 403


@pytest.mark.parametrize("secret", [None, "", "guessed"])
def test_the_control_of_faults_requires_the_stacks_secret(stack, send, signed, secret):
    headers = signed("lambda") | ({} if secret is None else {keys.SECRET_HEADER: secret})
    assert send("POST", "/_local_stack/faults/rules", headers, b"[]").status == 403


@pytest.mark.parametrize("secret", [None, "", "guessed"])
def test_ministack_answers_only_the_front_door(send, signed, ministack_port, secret):
    headers = signed("lambda") | ({} if secret is None else {keys.SECRET_HEADER: secret})
    for path in ("/_ministack/health", "/2015-03-31/functions", "/restapis/a/b/_user_request_/c", "/_local_stack/key"):
        assert send("GET", path, headers, port=ministack_port).status == 403


def test_no_log_and_no_argument_of_a_process_has_a_key_or_the_secret(stack, send, signed):
    send("GET", "/2015-03-31/functions", signed("lambda"))
    send("GET", "/2015-03-31/functions", {**signed("lambda"), "Origin": EVIL})
    held = keys.of(stack.settings)
    secret_texts = (held.credentials.access_key_id, held.credentials.secret_access_key, held.internal)
    texts = [path.read_text() for path in stack.settings.directory.glob("*.log")]
    texts += [" ".join(arguments) for arguments in processes.of_stack(stack.settings.directory).values()]
    assert len(texts) > 3
    for text in texts:
        assert not [secret for secret in secret_texts if secret in text]


def test_only_the_user_can_read_the_keys(stack):
    found = [stack.settings.temporary / "credentials.json", stack.settings.temporary / "internal-secret"]
    assert [path.stat().st_mode & 0o777 for path in found] == [0o600, 0o600]


@pytest.mark.parametrize(
    ("method", "path", "largest"),
    [
        ("PUT", "/_ministack/cfn-response/any", 4096),
        ("POST", "/restapis/a/b/_user_request_/c", 10 * 1024 * 1024),
    ],
)
def test_a_request_without_a_key_has_a_small_body_limit(send, method, path, largest):
    assert send(method, path, body=bytes(largest)).status != 413
    assert send(method, path, body=bytes(largest + 1)).status == 413


def test_no_other_process_can_listen_on_ministacks_port(tmp_path):
    """The socket is open before MiniStack's process starts, and stays open until the stack ends."""
    with local_stack(template=SMALL, home=tmp_path) as running:
        [arguments] = [
            arguments
            for arguments in processes.of_stack(running.settings.directory).values()
            if Path(arguments[1]).name == processes.MINISTACK_PROGRAM
        ]
        assert int(arguments[2]) < 1024  # a file descriptor, not a port
        port = int(re.search(r"MiniStack on port (\d+)", running.settings.log.read_text())[1])
        with socket.socket() as squatter, pytest.raises(OSError, match="in use"):
            squatter.bind(("127.0.0.1", port))


def test_each_stack_has_its_own_key_and_a_kept_stack_keeps_it(tmp_path, stack):
    def key_of(**settings):
        with local_stack(template=SMALL, home=tmp_path, **settings) as running:
            return running.environment["AWS_ACCESS_KEY_ID"], running.settings.port

    kept, port = key_of(keep=True)
    assert key_of(keep=True, port=port)[0] == kept
    fresh, _ = key_of()
    assert len({kept, fresh, stack.environment["AWS_ACCESS_KEY_ID"]}) == 3
    assert all(len(key) == 20 and not key.isdecimal() for key in (kept, fresh))


def test_a_body_that_is_too_large_is_refused(stack, signed):
    """By its Content-Length before it is sent, or in chunks once it is too large."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.settings.port, timeout=60)
    connection.putrequest("PUT", "/a-bucket/an-object")
    connection.putheader("Authorization", signed("s3")["Authorization"])
    connection.putheader("Content-Length", str(MAX_BODY_BYTES + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()

    connection.putrequest("PUT", "/a-bucket/an-object")
    connection.putheader("Authorization", signed("s3")["Authorization"])
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    part = bytes(1024 * 1024)
    sent = 0
    try:
        while sent <= MAX_BODY_BYTES + 64 * len(part):
            connection.send(b"%x\r\n%b\r\n" % (len(part), part))
            sent += len(part)
    except OSError:
        pass  # the stack has answered, and no longer reads
    assert sent > MAX_BODY_BYTES - 64 * len(part)
    assert connection.getresponse().status == 413
    connection.close()
