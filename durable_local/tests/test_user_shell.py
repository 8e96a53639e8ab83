"""The user's shell has no effect on the stack, and the stack gets nothing of it."""

import os
import shutil
import subprocess
from pathlib import Path

import harmful_shell
import pytest

from durable_local import environment_file, local_stack, processes
from durable_local.settings import Settings

FIXTURE = Path(__file__).parent / "fixture" / "template.yaml"


@pytest.fixture
def harmful(tmp_path):
    return harmful_shell.variables(tmp_path)


def test_a_client_of_the_stack_ignores_the_shells_variables(stack, harmful, monkeypatch):
    for name, value in harmful.items():
        monkeypatch.setenv(name, value)
    assert stack.client("sqs").list_queues()["QueueUrls"]
    assert stack.client("s3").list_buckets()["Buckets"]
    assert stack.client("dynamodb").list_tables()["TableNames"]
    assert stack.client("lambda").list_functions()["Functions"]
    assert stack.client("cloudformation").list_stacks()["StackSummaries"]
    assert stack.client("events").list_rules()["Rules"]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc to read environments from")
def test_no_process_of_a_stack_has_a_variable_of_the_user(harmful, monkeypatch, home):
    for name, value in {**harmful, "OF_THE_USER": "leaked"}.items():
        monkeypatch.setenv(name, value)
    with local_stack(template=FIXTURE, home=home) as stack:
        stack.client("lambda").invoke(FunctionName=stack.outputs["Plain"], Payload=b"{}")
        found = {pid: Path(f"/proc/{pid}/environ").read_text() for pid in processes.of_stack(stack.settings.directory)}
        assert len(stack.workers("Plain")) == 1
        assert len(found) >= 3
    for environment in found.values():
        assert "leaked" not in environment.lower()
        assert not {f"{name}={value}" for name, value in harmful.items()} & set(environment.split("\0"))


@pytest.fixture
def source(tmp_path, harmful):
    """Runs commands in a shell with harmful variables that has sourced a stack's file; what they print."""
    settings = Settings(home=tmp_path / "a 'home' with spaces")
    settings.directory.mkdir(parents=True)
    environment_file.write(settings, {"AWS_ENDPOINT_URL": settings.endpoint, "AWS_PAGER": "", "NO_PROXY": "127.0.0.1"})

    def run(shell, commands, **variables):
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        environment = {**harmful, "PATH": os.environ["PATH"], **variables}
        given = {name: value for name, value in environment.items() if value is not None}
        done = subprocess.run(
            [shell, "-euc", f'. "$1"; . "$1"; {commands}', shell, settings.environment_file],
            env=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh"])
def test_the_environment_file_unsets_every_aws_variable_of_the_shell(source, shell):
    printed = source(shell, "env", AWS_IGNORE_CONFIGURED_ENDPOINT_URLS="true")
    variables = [line for line in printed.splitlines() if line.startswith("AWS_")]
    assert sorted(variables) == ["AWS_ENDPOINT_URL=http://127.0.0.1:4566", "AWS_PAGER="]


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh"])
@pytest.mark.parametrize(
    ("upper", "lower", "then"),
    [
        (None, None, "127.0.0.1 127.0.0.1"),
        ("corp.example", None, "corp.example,127.0.0.1 corp.example,127.0.0.1"),
        (None, "corp.example", "corp.example,127.0.0.1 corp.example,127.0.0.1"),
        ("a.example", "b.example", "a.example,127.0.0.1 b.example,127.0.0.1"),
        ("*", "127.0.0.1,b.example", "* 127.0.0.1,b.example"),
    ],
)
def test_the_environment_file_appends_to_no_proxy_once(source, shell, upper, lower, then):
    printed = source(shell, "sh -c 'echo \"$NO_PROXY $no_proxy\"'", NO_PROXY=upper, no_proxy=lower)
    assert printed == then + "\n"
