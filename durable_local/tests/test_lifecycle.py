"""The commands `up` and `down`: processes, exit codes and output."""

import http.client
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from durable_local import LocalStackError, local_stack, processes
from durable_local.settings import from_environment

FIXTURE = Path(__file__).parent / "fixture" / "small.yaml"


def answers(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/_local_stack/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def test_up_and_down_are_safe_to_repeat(run, running, port, home):
    for _ in range(2):
        up = run("up")
        assert up.returncode == 0, up.stderr
        assert f"http://127.0.0.1:{port}" in up.stdout
        assert f". '{home}/env'" in up.stdout
        assert answers(port)
    for command in ("aws sqs list-queues --query 'length(QueueUrls)'", "aws sts get-caller-identity"):
        sourced = subprocess.run(
            ["sh", "-euc", f". '{home}/env'; {command}"],
            capture_output=True,
            text=True,
            timeout=60,
            env={"PATH": "/usr/bin:/bin"},
            check=False,
        )
        assert sourced.returncode == 0, sourced.stderr
    assert run("down").stdout == f"The local stack on port {port} has ended.\n"
    assert not running()
    assert not answers(port)
    assert not home.exists()
    again = run("down")
    assert not home.exists()
    assert (again.returncode, again.stdout) == (0, f"No local stack runs on port {port}.\n")


def test_a_port_in_use_is_one_clear_line(run, running, port, home):
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        up = run("up")
    assert up.returncode == 1
    assert up.stdout == ""
    assert up.stderr.count("\n") == 1
    assert str(port) in up.stderr
    assert "LOCAL_STACK_PORT" in up.stderr
    assert not running()
    assert not home.exists()


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("Resources: {Queue: {Type: 'AWS::SQS::Queue', Properties: {VisibilityTimeout: -1}}}", "Queue"),
        ("Resources: {Nothing: {Type: 'AWS::No::Such'}}", "AWS::No::Such"),
        ("Resources: [", "not YAML"),
        (
            "Resources: {F: {Type: 'AWS::Serverless::Function', Properties: {CodeUri: nowhere/}}}",
            "does not exist",
        ),
        (None, "cannot read"),
    ],
    ids=["resource", "type", "yaml", "folder", "file"],
)
def test_a_template_error_is_one_clear_line_and_leaves_nothing_running(run, running, tmp_path, template, said):
    path = tmp_path / "template.yaml"
    if template is not None:
        path.write_text(template)
    up = run("up", LOCAL_STACK_TEMPLATE=str(path))
    assert up.returncode == 1
    assert up.stderr.count("\n") == 1
    assert said in up.stderr
    assert not running()


def test_a_dead_ministack_ends_the_stack_with_one_clear_line(run, running, port, home, eventually):
    assert run("up").returncode == 0
    [ministack] = [
        pid for pid, arguments in running().items() if Path(arguments[1]).name == processes.MINISTACK_PROGRAM
    ]
    os.kill(ministack, signal.SIGKILL)
    eventually(lambda: not running())
    log = (home / str(port) / "front-door.log").read_text()
    assert log.splitlines()[-1].endswith("MiniStack ended by itself (exit -9); the stack ends with it")
    said = f"No local stack runs on port {port}. The logs of the last stack are in {home / str(port)}.\n"
    assert run("down").stdout == said
    assert (home / str(port) / "front-door.log").read_text() == log
    assert run("up").returncode == 0


def test_a_killed_front_door_ends_the_whole_stack(run, running, port, home, eventually):
    assert run("up").returncode == 0
    os.kill(processes.front_door_of(home / str(port)), signal.SIGKILL)
    eventually(lambda: not running())
    assert run("down").returncode == 0
    assert run("up").returncode == 0


def test_stacks_on_two_ports_do_not_see_each_other(stack):
    with local_stack(template=FIXTURE) as other:
        other.client("sqs").create_queue(QueueName="only-there")
        there = other.client("sqs").list_queues(QueueNamePrefix="only-there")["QueueUrls"]
        assert there == [f"{other.endpoint}/000000000000/only-there"]
        assert not stack.client("sqs").list_queues(QueueNamePrefix="only-there").get("QueueUrls")
    assert not processes.of_stack(other.settings.directory)
    assert not other.settings.directory.exists()


def test_a_stack_of_a_block_ends_when_the_block_fails(home):
    with (
        pytest.raises(RuntimeError, match="its own") as failed,
        local_stack(template=FIXTURE, home=home) as failing,
    ):
        raise RuntimeError("its own")
    assert not processes.of_stack(failing.settings.directory)
    assert failing.settings.log.exists()
    assert failed.value.__notes__ == [f"the stack's logs are in {failing.settings.directory}"]


def test_a_stack_of_a_block_ends_with_its_process(home, eventually):
    script = (
        "from pathlib import Path; from durable_local import local_stack\n"
        f"with local_stack(template=Path({str(FIXTURE)!r}), home=Path({str(home)!r})) as stack:\n"
        "    print(stack.settings.directory, flush=True); input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        directory = Path(holder.stdout.readline().strip())
        assert processes.of_stack(directory)
        holder.kill()
    eventually(lambda: not processes.of_stack(directory))


def test_up_prints_the_settings_of_state_and_clock(run, home, port):
    clean = run("up").stdout
    assert "started clean" in clean
    assert "as fast as real time" not in clean
    # The settings with which the running stack was started count.
    assert "started clean" in run("up", LOCAL_STACK_KEEP="1").stdout
    run("down")
    kept = run("up", LOCAL_STACK_KEEP="1", LOCAL_STACK_TIME_SCALE="3600").stdout
    assert f"kept in {home / str(port) / 'state'}" in kept
    assert "3600 times as fast as real time" in kept
    run("down")
    assert (home / str(port) / "state" / "ministack" / "cloudformation.json").exists()
    assert "left alone" in run("up").stdout


def test_a_setting_that_cannot_be_read_is_named():
    with pytest.raises(LocalStackError, match="LOCAL_STACK_PORT='http'"):
        from_environment({"LOCAL_STACK_PORT": "http"})
    with pytest.raises(LocalStackError, match="'WaitSeconds' is not of the form Name=value"):
        from_environment({"LOCAL_STACK_PARAMETERS": "LogLevel=DEBUG WaitSeconds"})
    with pytest.raises(LocalStackError, match="LOCAL_STACK_KEEP='yes'"):
        from_environment({"LOCAL_STACK_KEEP": "yes"})
    with pytest.raises(LocalStackError, match="LOCAL_STACK_TIME_SCALE='skip'"):
        from_environment({"LOCAL_STACK_TIME_SCALE": "skip"})
