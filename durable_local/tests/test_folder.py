"""A stack's folder: who can read it, when it is removed, and what two commands at once do."""

import fcntl
import os
import signal
import stat

import pytest

from durable_local import LocalStackError, folder
from durable_local.settings import Settings


@pytest.fixture
def lock(home, port):
    """Exists while a command works on the stack."""
    return home / str(port) / "lock"


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


def test_a_folder_of_an_earlier_version_becomes_unreadable_for_others(tmp_path, monkeypatch):
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
def test_a_command_during_up_ends_in_one_clear_line(start, run, lock, port, eventually, command):
    first = start("up")
    eventually(lock.exists)
    os.killpg(first.pid, signal.SIGSTOP)
    second = run(command)
    os.killpg(first.pid, signal.SIGCONT)
    said = f"local stack: another command is at work on the stack of port {port}; try again when it has ended\n"
    assert (second.returncode, second.stdout, second.stderr) == (1, "", said)
    output, _ = first.communicate(timeout=60)
    assert first.returncode == 0, output
    assert run("down").stdout == f"The local stack on port {port} has ended.\n"


def test_a_killed_command_leaves_no_lock_behind(start, run, running, lock, eventually):
    first = start("up")
    eventually(lock.exists)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert run("down").returncode == 0
    assert not running()
    assert run("up").returncode == 0


def test_a_lock_whose_file_was_removed_does_not_count(tmp_path, port, monkeypatch):
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
