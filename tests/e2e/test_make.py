"""`make up`, `demo` and `down` as a person runs them: interrupts, and a shell with harmful variables."""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import harmful_shell
import pytest
from process_groups import commands_in_groups

from durable_local import processes
from durable_local.settings import Settings
from tools.pipeline import ROOT


@pytest.fixture
def settings(tmp_path):
    """A stack on a port and in a folder of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return Settings(port=port, home=tmp_path / "a home with spaces")


@pytest.fixture
def home(settings):
    return settings.home


@pytest.fixture
def shell(settings, tmp_path):
    """The environment of `make`: a small template."""
    template = tmp_path / "small.yaml"
    template.write_text("Resources: {Queue: {Type: AWS::SQS::Queue}}\n")
    # Without the variables that say that these tests were started by `make`.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return {
        **inherited,
        "LOCAL_STACK_PORT": str(settings.port),
        "LOCAL_STACK_HOME": str(settings.home),
        "LOCAL_STACK_NAME": "lifecycle",
        "LOCAL_STACK_TEMPLATE": str(template),
    }


@pytest.fixture
def harmful(tmp_path):
    return {
        **harmful_shell.variables(tmp_path),
        "CONTRACT_STACK": "real",
        "STACK": "exported",
        "TEMPLATE": "exported",
    }


@pytest.fixture
def make(shell):
    """Starts `make` in a process group of its own, as a terminal does, and ends the stack afterwards."""
    with commands_in_groups(ROOT, shell) as start:
        yield lambda *arguments, **environment: start(["make", *arguments], **environment)
    subprocess.run(["make", "down"], cwd=ROOT, env=shell, stdout=subprocess.DEVNULL, timeout=60, check=True)


@pytest.fixture
def running(settings):
    """The processes of the stack, by id."""
    return lambda: processes.of_stack(settings.directory)


def until(look):
    deadline = time.monotonic() + 60
    while not look():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def python_of(make_process, command):
    """Whether the Python of `make <command>` runs, be it only its interpreter that starts."""
    running = [pid for pid, arguments in processes._all() if arguments[1:] == ["-m", "tools", command]]
    return any(os.getpgid(pid) == make_process.pid for pid in running)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS's env cannot block a signal while Python starts")
def test_an_interrupt_while_python_starts_shows_no_traceback(make, home):
    up = make("up")
    until(lambda: python_of(up, "up"))
    os.killpg(up.pid, signal.SIGINT)
    output, _ = up.communicate(timeout=60)
    assert re.sub(r"make: .*\n", "", output) == "interrupted\n"
    assert not home.exists()


def test_an_interrupt_while_a_stack_starts_leaves_nothing(make, running, home):
    up = make("up")
    until(running)
    os.killpg(up.pid, signal.SIGINT)
    output, _ = up.communicate(timeout=60)
    assert re.sub(r"make: .*\n", "", output) == "local stack: interrupted\n"
    assert not running()
    assert not home.exists()


def test_an_interrupted_demo_leaves_nothing(make):
    demo = make("demo")
    for line in demo.stdout:
        if found := re.match(r"  http://127\.0\.0\.1:(\d+), after", line):
            break
    os.killpg(demo.pid, signal.SIGINT)
    output, _ = demo.communicate(timeout=60)
    assert re.sub(r"make: .*\n", "", output).endswith("interrupted; the local stack is down\n")
    assert not (ROOT / ".local" / found[1]).exists()


@pytest.mark.timeout(300)
def test_make_up_demo_and_down_work_in_a_harmful_shell(make, harmful, home):
    for command, said in (
        ("up", "The local stack is up"),
        ("demo", "every order ended as it should, and no message is left"),
        ("down", "has ended"),
    ):
        process = make(command, **harmful)
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, output
        assert said in output
    assert not home.exists()


def dry_run(environment, *arguments):
    """What `make` would run."""
    return subprocess.run(
        ["make", "--dry-run", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_only_the_command_line_of_make_chooses_a_real_stack(shell, harmful):
    exported = {**shell, **harmful}
    assert "pytest durable_local/tests/test_contract.py" in dry_run(exported, "contract")
    assert "CONTRACT_STACK" not in dry_run(exported, "contract")
    assert "CONTRACT_STACK='mine' " in dry_run(exported, "contract", "STACK=mine")
    assert "tools.smoke\n" in dry_run(exported, "smoke").replace(" \n", "\n")
    assert "tools.smoke --stack 'mine'\n" in dry_run(exported, "smoke", "STACK=mine")
    # An exported CONTRACT_STACK reaches no command at all.
    show = ["make", "--eval", "show: ; @echo $${CONTRACT_STACK-}", "show"]
    assert subprocess.check_output(show, cwd=ROOT, env=exported, text=True) == "\n"


def test_only_the_command_line_of_make_chooses_a_template(shell, harmful):
    exported = {**shell, **harmful}
    assert "exported" not in dry_run(exported, "up")
    assert "up 'other.yaml' --stack 'mine'" in dry_run(exported, "up", "TEMPLATE=other.yaml", "STACK=mine")


def test_nothing_that_is_not_ours_is_built_when_it_is_installed(shell):
    commands = dry_run(shell, "--always-make", ".venv/.stack", ".venv-sam/.installed").splitlines()
    from_lock_files = [command for command in commands if " pip " in command and ".txt" in command]
    assert len(from_lock_files) == 4
    for command in from_lock_files:
        assert "--require-hashes --only-binary :all:" in command
    # MiniStack: the test of `ministack_environment` has its hashes.
    assert any(command.endswith("-m durable_local install") for command in commands)
    [ours] = [command for command in commands if " pip install " in command and ".txt" not in command]
    assert ours.endswith("--no-deps --no-build-isolation --editable . --editable durable_local")
