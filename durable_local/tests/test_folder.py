"""A stack's folder: who can read it, when it is removed, and what two commands at once do."""

import fcntl
import os
import re
import signal
import stat
import sys
from pathlib import Path

import pytest

from durable_local import LocalStackError, folder, processes
from durable_local.settings import Settings

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def lock(home, port):
    """Exists while a command works on the stack."""
    return home / str(port) / "lock"


def python_of(make_process, command):
    """Whether the Python of `make <command>` runs, be it only its interpreter that starts."""
    running = [pid for pid, arguments in processes._all() if arguments[1:] == ["-m", "tools", command]]
    return any(os.getpgid(pid) == make_process.pid for pid in running)


def modes(path):
    return {str(entry): stat.S_IMODE(entry.stat().st_mode) for entry in [path, *path.rglob("*")]}


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_only_the_user_can_read_a_stacks_folder(run, home, port, umask):
    before = os.umask(umask)
    try:
        assert run("up", LOCAL_STACK_KEEP="1").returncode == 0
        running = modes(home)
        assert run("down").returncode == 0
        kept = modes(home)
    finally:
        os.umask(before)
    assert str(home / "env") in running
    assert str(home / str(port) / "ministack.log") in running
    assert str(home / str(port) / "state" / "ministack" / "cloudformation.json") in kept
    for path, mode in {**running, **kept}.items():
        assert mode & 0o077 == 0, path
    assert running[str(home / "env")] == 0o600
    assert running[str(home / str(port) / "bin" / "aws")] == 0o700


def test_a_local_folder_of_an_earlier_version_is_closed_to_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings(home=tmp_path / ".local")
    settings.directory.mkdir(parents=True)
    settings.home.chmod(0o755)
    settings.directory.chmod(0o755)
    with folder.locked(settings):
        assert set(modes(settings.home).values()) == {0o700, 0o600}


def test_a_failed_up_keeps_its_logs_and_says_where(run, home, port, tmp_path):
    template = tmp_path / "template.yaml"
    template.write_text("Resources: {Nothing: {Type: 'AWS::No::Such'}}")
    up = run("up", LOCAL_STACK_TEMPLATE=str(template))
    assert up.stderr.endswith(f"; the stack's logs are in {home / str(port)}\n")
    assert sorted(path.name for path in (home / str(port)).iterdir()) == ["front-door.log", "ministack.log"]


@pytest.mark.parametrize("command", ["up", "down"])
def test_a_command_during_make_up_ends_in_one_clear_line(make, lock, port, eventually, command):
    first = make("up")
    eventually(lock.exists)
    os.killpg(first.pid, signal.SIGSTOP)
    output, _ = make(command).communicate(timeout=60)
    os.killpg(first.pid, signal.SIGCONT)
    said = f"local stack: another command is at work on the stack of port {port}; try again when it has ended\n"
    assert re.sub(r"make: .*\n", "", output) == said
    output, _ = first.communicate(timeout=60)
    assert first.returncode == 0, output
    assert make("down").communicate(timeout=60)[0] == f"The local stack on port {port} has ended.\n"


def test_a_killed_command_leaves_no_lock_behind(make, run, running, lock, eventually):
    first = make("up")
    eventually(lock.exists)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert run("down").returncode == 0
    assert not running()
    assert run("up").returncode == 0


def test_a_lock_whose_file_was_removed_meanwhile_is_no_lock(tmp_path, port, monkeypatch):
    """The command that had it removes the file between the other's look at the file and its try for the lock."""
    settings = Settings(port=port, home=tmp_path / "home")
    lock, flock = settings.directory / "lock", fcntl.flock
    removals = iter([lock.unlink])

    def flock_after_removal(*arguments):
        next(removals, lambda: None)()
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", flock_after_removal)
    with folder.locked(settings):
        assert lock.exists()
        with pytest.raises(LocalStackError, match="another command is at work"), folder.locked(settings):
            pass
    assert not settings.home.exists()


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS's env cannot block a signal while Python starts")
def test_an_interrupt_while_python_starts_shows_no_traceback(make, home, eventually):
    up = make("up")
    eventually(lambda: python_of(up, "up"))
    os.killpg(up.pid, signal.SIGINT)
    output, _ = up.communicate(timeout=60)
    assert re.sub(r"make: .*\n", "", output) == "interrupted\n"
    assert not home.exists()


def test_an_interrupt_while_a_stack_starts_leaves_nothing(make, running, home, eventually):
    up = make("up")
    eventually(running)
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
    assert not (REPOSITORY / ".local" / found[1]).exists()
