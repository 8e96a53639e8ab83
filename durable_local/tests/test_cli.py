"""The command `durable-local`, run as a user runs it."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from durable_local import LocalStackError, lifecycle, ministack_environment
from durable_local.settings import Settings, from_environment, stack_name_of

FIXTURE = Path(__file__).parent / "fixture" / "template.yaml"
PROJECT = Path(__file__).parents[1]
DURABLE_TEMPLATE = """\
Transform: AWS::Serverless-2016-10-31
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: hello
      Runtime: python3.13
      Handler: hello.handler
      CodeUri: .
      DurableConfig: {ExecutionTimeout: 60}
  Broken:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.13
      Handler: hello.not_there
      CodeUri: .
"""
DURABLE_HANDLER = """\
from aws_durable_execution_sdk_python import durable_execution

@durable_execution
def handler(event, context):
    return context.step(lambda _: "hello", name="say")
"""
COMMANDS = ["up", "down", "status", "logs", "executions", "console", "install"]


@pytest.fixture
def command(stack):
    """Runs a command on the stack that all tests share."""
    environment = {
        **os.environ,
        "LOCAL_STACK_PORT": str(stack.settings.port),
        "LOCAL_STACK_HOME": str(stack.settings.home),
    }

    def run(*arguments):
        return subprocess.run(
            [Path(sys.executable).with_name("durable-local"), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def execution(stack, aws_lambda):
    """Starts a named execution of a function and waits for its end; its ARN."""

    def start(name, function="Durable", event=b"{}"):
        done = aws_lambda.invoke(FunctionName=stack.outputs[function], DurableExecutionName=name, Payload=event)
        done["Payload"].read()
        return done["DurableExecutionArn"]

    return start


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example(command, name):
    helped = command(name, "--help")
    assert helped.returncode == 0
    assert f"example:\n  durable-local {name}" in helped.stdout


def test_help_lists_the_commands(command):
    helped = command("--help").stdout
    listed = helped.split("positional arguments:")[1].split("options:")[0]
    assert re.findall(r"^    (\w+)", listed, re.MULTILINE)[-len(COMMANDS) :] == COMMANDS


def test_status_shows_endpoint_functions_and_executions_by_status(command, stack, execution):
    execution("status-1")
    execution("status-2", event=b'{"fail": true}')
    shown = command("status")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"The local stack is up at {stack.endpoint}.\n")
    assert re.search(r"^fixture +CREATE_COMPLETE$", shown.stdout, re.MULTILINE)
    assert re.search(rf"^{stack.outputs['DurableName']} +durable$", shown.stdout, re.MULTILINE)
    assert re.search(rf"^{stack.outputs['Plain']}$", shown.stdout, re.MULTILINE)
    assert re.search(r"^SUCCEEDED +[1-9]\d*$", shown.stdout, re.MULTILINE)
    assert re.search(r"^FAILED +[1-9]\d*$", shown.stdout, re.MULTILINE)


def test_executions_lists_the_newest_first(command, execution):
    execution("older")
    execution("newer")
    header, *rows = command("executions").stdout.splitlines()
    assert header.split() == ["STATUS", "STARTED", "TOOK", "FUNCTION", "NAME"]
    names = [row.split()[-1] for row in rows]
    assert names.index("newer") < names.index("older")


def test_executions_can_be_chosen_by_status(command, execution):
    execution("good")
    execution("bad", event=b'{"fail": true}')
    failed = command("executions", "--status", "FAILED").stdout
    assert re.search(r"^FAILED .* bad$", failed, re.MULTILINE)
    assert "good" not in failed


def test_an_execution_is_found_by_name_or_arn(command, execution):
    arn = execution("history-1")
    by_name = command("executions", "history-1").stdout
    assert by_name.startswith(f"SUCCEEDED  {arn}\n")
    events = re.findall(r"^\d{4}-\S+ \S+  (\w+)", by_name, re.MULTILINE)
    assert (events[0], events[-1]) == ("ExecutionStarted", "ExecutionSucceeded")
    assert re.search(r"StepSucceeded +first +\{.*greeting", by_name)
    assert command("executions", arn).stdout == by_name
    assert arn in command("executions", "--arns").stdout


def test_a_name_that_two_functions_have_needs_the_arn(command, execution):
    execution("shared")
    arn = execution("shared", function="Slow")
    refused = command("executions", "shared")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("local stack: 2 executions have the name shared; ")
    assert refused.stderr.count("\n") == 1
    assert arn in command("executions", arn).stdout


@pytest.mark.parametrize("arguments", [["no-such-name"], ["arn:no-such"], ["--status", "NONE"]])
def test_an_execution_that_is_not_there_is_one_line(command, arguments):
    refused = command("executions", *arguments)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("local stack: ")
    assert refused.stderr.count("\n") == 1


def test_logs_shows_the_end_of_both_logs(command, stack):
    shown = command("logs", "-n", "1").stdout
    settings = stack.settings
    last = [log.read_text().splitlines()[-1] for log in (settings.log, settings.ministack_log)]
    assert shown.splitlines()[0] == f"==> {settings.log} <=="
    assert f"==> {settings.ministack_log} <==" in shown.splitlines()
    assert last[0] in shown
    assert len(shown.splitlines()) == 4


def test_logs_follows_until_the_stack_ends(run, chosen, home, port):
    assert run("up").returncode == 0
    with subprocess.Popen(
        [sys.executable, "-m", "durable_local", "logs", "-f", "-n", "1"], env=chosen, stdout=subprocess.PIPE, text=True
    ) as follower:
        # It has read both logs when it prints the last line of the second one.
        for line in follower.stdout:
            if line == f"==> {home / str(port) / 'ministack.log'} <==\n":
                break
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/")
        assert connection.getresponse().status == 403
        connection.close()
        assert any("refused" in line for line in follower.stdout)
        os.kill(lifecycle.processes.front_door_of(home / str(port)), signal.SIGKILL)
        follower.communicate(timeout=60)
    assert follower.returncode == 0


def test_without_a_stack_each_reading_command_is_one_line(run, port):
    assert (run("status").returncode, run("status").stdout) == (1, f"No local stack runs on port {port}.\n")
    for name in ("logs", "executions", "console"):
        refused = run(name)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)


def test_the_console_says_that_its_port_is_in_use(command):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = command("console", "--port", port)
    assert (refused.returncode, refused.stdout) == (1, "")
    reason = f"port {port} cannot be used (Address already in use); choose another with --port"
    assert refused.stderr == f"local stack: {reason}\n"


def test_up_takes_a_template_and_names_the_stack_after_its_folder(run, tmp_path):
    template = tmp_path / "hello world" / "template.yaml"
    template.parent.mkdir()
    template.write_text("Resources: {Queue: {Type: 'AWS::SQS::Queue'}}\nOutputs: {Url: {Value: !Ref Queue}}")
    up = run("up", str(template), LOCAL_STACK_NAME="")
    assert up.returncode == 0, up.stderr
    assert "(template.yaml as stack hello-world)" in up.stdout
    assert re.search(r"^Url: http://\S+/hello-world-Queue", up.stdout, re.MULTILINE)
    assert "(template.yaml as stack other)" in run("up", str(template), "--stack", "other").stdout
    listed = re.findall(r"^(\S+) +CREATE_COMPLETE$", run("status").stdout, re.MULTILINE)
    assert sorted(listed) == ["hello-world", "other"]


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("/a/orders/template.yaml", "orders"),
        ("/a/orders/.aws-sam/build/template.yaml", "orders"),
        ("/a/fixture/small.yaml", "small"),
        ("/a/2 go_there/template.yml", "stack-2-go-there"),
        ("/template.yaml", "stack"),
    ],
)
def test_a_stack_is_named_after_its_template(template, name):
    assert stack_name_of(Path(template)) == name


def test_the_home_folder_is_in_the_current_folder_or_where_a_variable_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert from_environment({}).home == tmp_path / ".local"
    assert from_environment({"LOCAL_STACK_HOME": "/a"}).home == Path("/a")
    assert from_environment({"LOCAL_STACK_HOME": "/a", "DURABLE_LOCAL_HOME": "/b"}).home == Path("/b")


def test_handlers_run_with_the_python_that_was_chosen(run, tmp_path):
    missing = tmp_path / "bin" / "python"
    refused = run("up", "--python", str(missing))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"local stack: {missing} does not exist; LOCAL_STACK_FUNCTIONS_PYTHON ")
    assert refused.stderr.count("\n") == 1


def test_up_without_ministack_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(LocalStackError, match=r"^MiniStack is not installed; run: durable-local install$"):
        lifecycle.up(Settings(port=1, home=tmp_path / "home", template=FIXTURE.with_name("small.yaml")))
    monkeypatch.undo()


def test_a_failed_install_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    lock = tmp_path / "lock.txt"
    lock.write_text("ministack==1.5.33\n")  # no hash
    monkeypatch.setattr(ministack_environment, "LOCK", lock)
    with pytest.raises(LocalStackError, match=r"MiniStack could not be installed .*hash") as failed:
        ministack_environment.install()
    assert "\n" not in str(failed.value)
    assert list(tmp_path.iterdir()) == [lock]


def test_another_lock_file_is_another_environment(tmp_path, monkeypatch):
    before = ministack_environment.folder()
    lock = tmp_path / "lock.txt"
    lock.write_bytes(ministack_environment.LOCK.read_bytes() + b"\n")
    monkeypatch.setattr(ministack_environment, "LOCK", lock)
    assert ministack_environment.folder() != before
    assert ministack_environment.folder().parent == before.parent


@pytest.mark.parametrize(
    ("environment", "folder"),
    [("project/.venv", "project/.venv-ministack-"), ("pipx/durable-local", "pipx/durable-local/ministack-")],
)
def test_the_environment_is_inside_another_one_or_beside_a_projects_venv(monkeypatch, environment, folder):
    monkeypatch.setattr(sys, "prefix", environment)
    assert re.fullmatch(f"{folder}[0-9a-f]{{12}}", str(ministack_environment.folder()))


def test_install_makes_the_environment_once(command):
    said = f"MiniStack was already installed in {ministack_environment.folder()}.\n"
    assert command("install").stdout == said


def test_a_wheel_in_an_empty_environment_runs_a_template(tmp_path, port):
    wheels, environment = tmp_path / "wheels", tmp_path / "environment"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels]
    subprocess.run(build, cwd=PROJECT, capture_output=True, check=True)
    [wheel] = wheels.glob("*.whl")
    console = PROJECT / "src" / "durable_local" / "console"
    shipped = {str(file.relative_to(PROJECT / "src")) for file in console.rglob("*.*") if file.suffix != ".pyc"}
    assert shipped <= set(zipfile.ZipFile(wheel).namelist())
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--no-project", "--python", sys.executable, environment], check=True)
    python, command = environment / "bin" / "python", environment / "bin" / "durable-local"
    subprocess.run([uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, wheel], check=True)
    # The packages it needs and MiniStack are installed already. A .pth file adds no project that is installed editable.
    [packages] = environment.glob("lib/python3*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    (environment / ministack_environment.folder().name.removeprefix(".venv-")).symlink_to(
        ministack_environment.folder()
    )
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "template.yaml").write_text(DURABLE_TEMPLATE)
    (tmp_path / "app" / "hello.py").write_text(DURABLE_HANDLER)

    def run(*arguments):
        chosen = {"PATH": os.environ["PATH"], "LOCAL_STACK_PORT": str(port)}
        done = subprocess.run(
            [command, *arguments], cwd=tmp_path, env=chosen, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done

    try:
        up = run("up", "app/template.yaml")
        assert (
            up.stderr
            == "Broken cannot be imported: Runtime.HandlerNotFound: Handler 'not_there' missing on module 'hello'\n"
        )
        stack = lifecycle.find(Settings(port=port, home=tmp_path / ".local"))
        stack.client("lambda").invoke(FunctionName="hello:$LATEST", DurableExecutionName="first")["Payload"].read()
        assert re.search(r"^SUCCEEDED .* hello:\$LATEST +first$", run("executions").stdout, re.MULTILINE)
    finally:
        run("down")
