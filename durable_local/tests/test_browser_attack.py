"""A web page in the user's browser can change nothing through the stack's endpoint or MiniStack's port.

Pages in a real browser try every request that a page can send. The browser hides most answers from a page but sends
the requests, so the stack must refuse them.
"""

import base64
import io
import re
import threading
import zipfile
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from durable_local import local_stack

PAGE = "<!doctype html><title>a page</title><body></body>"

# Where the page is from. The last two are what DNS rebinding does: the page's own host name leads to the stack, so the
# browser takes the stack for the page's server.
PAGES = {
    "another port": "http://127.0.0.1:{page}/",
    "another host": "http://evil.example:{page}/",
    "no origin": f"data:text/html,{PAGE}",
    "rebound to the endpoint": "http://evil.example:{endpoint}/page",
    "rebound to MiniStack": "http://evil.example:{ministack}/page",
}

# Each way has a function or a queue of its own name. Returned: the answers that the page could read.
ATTACK = """
async ({target, prefix, zip, what}) => {
  const answers = [];
  const send = async (path, options) => {
    try {
      const answer = await fetch(target + path, options);
      if (answer.type !== "opaque") answers.push({path, status: answer.status, text: await answer.text()});
    } catch {}  // the browser refused to send it, or hides the answer
  };
  const inFrame = (path, start) => new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.name = `frame${document.querySelectorAll("iframe").length}`;
    document.body.append(frame);
    frame.onload = () => {
      const page = frame.contentDocument;  // null if it is another origin's
      if (page) {
        const [navigation] = frame.contentWindow.performance.getEntriesByType("navigation");
        answers.push({path, status: navigation?.responseStatus, text: page.documentElement.textContent});
      }
      done();
    };
    start(frame);
  });
  const navigate = (path) => inFrame(path, (frame) => { frame.src = target + path; });
  // A form of text/plain sends name=value. Cut at an "=" within it, a JSON text is such a pair.
  const submit = (path, content) => inFrame(path, (frame) => {
    const json = JSON.stringify({...content, Description: "="});
    const form = document.createElement("form");
    const input = document.createElement("input");
    Object.assign(form, {action: target + path, method: "POST", enctype: "text/plain", target: frame.name});
    [input.name, input.value] = [json.slice(0, json.lastIndexOf("=")), json.slice(json.lastIndexOf("=") + 1)];
    form.append(input);
    document.body.append(form);
    form.submit();
  });
  const load = (tag, path) => new Promise((done) => {
    const element = document.createElement(tag);
    element.onload = element.onerror = done;
    element.src = target + path;
    document.body.append(element);
  });

  const plain = (content) =>
    ({method: "POST", mode: "no-cors", headers: {"Content-Type": "text/plain"}, body: JSON.stringify(content)});
  const signed = (service, headers, content) => ({
    method: "POST",
    mode: "cors",
    headers: {
      Authorization: "AWS4-HMAC-SHA256 Credential=test/20260101/eu-central-2/" + service +
        "/aws4_request, SignedHeaders=host, Signature=0",
      ...headers,
    },
    body: JSON.stringify(content),
  });
  const functions = "/2015-03-31/functions";
  const invocations = (way) => `${functions}/${prefix}-${way}/invocations`;
  const definition = (way) => ({
    FunctionName: `${prefix}-${way}`,
    Runtime: "python3.13",
    Role: "arn:aws:iam::000000000000:role/none",
    Handler: "attack.handler",
    Code: {ZipFile: zip},
  });
  const createQueue = (way) => `/?Action=CreateQueue&Version=2012-11-05&QueueName=${prefix}-${way}`;
  const describeStacks = "/?Action=DescribeStacks&Version=2010-05-15";
  const json = {"Content-Type": "application/json"};
  const operation = (name) => ({"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": name});

  if (what === "reset") {
    await send("/_ministack/reset", plain({}));
    await submit("/_ministack/reset", {});
    return answers;
  }
  await send(functions, plain(definition("plain")));
  await send(invocations("plain"), plain({}));
  await send(functions, signed("lambda", json, definition("signed")));
  await send(invocations("signed"), signed("lambda", json, {}));
  await submit(functions, definition("form"));
  await submit(invocations("form"), {});

  await send("/", signed("sqs", operation("AmazonSQS.CreateQueue"), {QueueName: `${prefix}-signed`}));
  await send(createQueue("get"), {mode: "no-cors"});
  await navigate(createQueue("frame"));
  await load("img", createQueue("img"));
  await load("script", createQueue("script"));

  await send("/", signed("cloudformation", operation("CloudFormation_20100515.DescribeStacks"), {}));
  await navigate(describeStacks);
  for (const path of [describeStacks, functions, "/_local_stack/health", "/_ministack/health"]) await send(path, {});
  return answers;
}
"""

# How many it sends to each port. Where a preflight is refused, it is the one that counts.
REQUESTS = 19


@dataclass(frozen=True)
class Outcome:
    """The effects of a page's requests."""

    is_rebound: bool
    answers: list[dict]  # what the page could read
    functions: set[str]
    ran: set[str]  # the functions whose code ran
    queues: set[str]
    reset: bool
    refusals: dict[str, int]  # lines in the log of each port


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """A stack of its own: a reset would empty the one that the other tests share."""
    template = tmp_path_factory.mktemp("attacked") / "template.yaml"
    template.write_text("Resources: {Queue: {Type: AWS::SQS::Queue}}\nOutputs: {Url: {Value: !Ref Queue}}\n")
    with local_stack(template=template, stack_name="attacked") as stack:
        yield stack


class PageServer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, *_):
        """No log lines."""


@pytest.fixture(scope="module")
def ports(attacked):
    """The page server's port, and the two that are attacked."""
    ministack = re.search(r"MiniStack on port (\d+)", attacked.settings.log.read_text())
    with ThreadingHTTPServer(("127.0.0.1", 0), PageServer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield {"page": server.server_port, "endpoint": attacked.settings.port, "ministack": int(ministack[1])}
        server.shutdown()
        thread.join()


def code_that_leaves_a_mark(folder):
    """A function's zip, in base64: it writes a file with the function's name to the folder."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        source = f"def handler(event, context):\n    open({str(folder)!r} + '/' + context.function_name, 'w').close()\n"
        archive.writestr("attack.py", source)
    return base64.b64encode(content.getvalue()).decode()


@pytest.fixture(scope="module", params=PAGES)
def outcome(request, attacked, ports, browser, tmp_path_factory):
    marks = tmp_path_factory.mktemp("marks")
    aws_lambda, sqs = attacked.client("lambda"), attacked.client("sqs")
    logs = {"endpoint": attacked.settings.log, "ministack": attacked.settings.log.with_name("ministack.log")}
    is_rebound = request.param.startswith("rebound")
    host = "evil.example" if is_rebound else "127.0.0.1"
    url = PAGES[request.param].format(**ports)

    def queues():
        return {queue.rpartition("/")[2] for queue in sqs.list_queues().get("QueueUrls", [])}

    def functions():
        return {function["FunctionName"] for function in aws_lambda.list_functions()["Functions"]}

    def refusals():
        return {name: log.read_text().count("refused: ") for name, log in logs.items()}

    def attack(what):
        for name in logs:
            target = f"http://{host}:{ports[name]}"
            plan = {"target": target, "prefix": f"attack-{name}", "zip": code_that_leaves_a_mark(marks), "what": what}
            answers.extend(page.evaluate(ATTACK, plan))

    answers = []
    sqs.create_queue(QueueName="before")
    queues_before, functions_before, refusals_before = queues(), functions(), refusals()
    page = browser.new_page()
    if is_rebound:
        # The attacker's own server sends the page; afterwards the name leads to this machine.
        page.route(url, lambda route: route.fulfill(content_type="text/html", body=PAGE))
    page.goto(url)
    page.unroute_all()
    attack("create and read")
    made = functions() - functions_before, queues() - queues_before
    attack("reset")
    page.close()
    return Outcome(
        is_rebound=is_rebound,
        answers=answers,
        functions=made[0],
        ran={mark.name for mark in marks.iterdir()},
        queues=made[1],
        reset="before" not in queues(),
        refusals={name: count - refusals_before[name] for name, count in refusals().items()},
    )


def test_no_page_creates_a_function(outcome):
    assert outcome.functions == set()


def test_no_page_runs_code(outcome):
    assert outcome.ran == set()


def test_no_page_creates_a_queue(outcome):
    assert outcome.queues == set()


def test_no_page_resets_the_stack(outcome):
    assert not outcome.reset


def test_no_page_reads_an_answer(outcome):
    # For the browser, a page after DNS rebinding is of the stack's origin. So that page can read the refusals.
    readable = [answer for answer in outcome.answers if not (outcome.is_rebound and answer["status"] == 403)]
    assert readable == []


def test_each_refused_request_of_a_page_is_one_log_line(outcome):
    assert min(outcome.refusals.values()) >= REQUESTS
