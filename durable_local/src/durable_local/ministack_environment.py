"""The environment MiniStack runs in: its botocore is older than the one the durable SDK needs.

The lock file is part of this package. The environment is inside the environment that `durable-local` is installed in,
so both are deleted together; only beside a project's `.venv` it is a folder of its own. The folder's name contains the
lock file's hash: a new lock file needs a new environment, and `up` never uses packages of an earlier one.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from durable_local.errors import LocalStackError

LOCK = Path(__file__).with_name("ministack.lock.txt")
HASH_LENGTH = 12


def folder() -> Path:
    """Where the environment is, installed or not."""
    environment = Path(sys.prefix)
    name = f"ministack-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:HASH_LENGTH]}"
    return environment.with_name(f".venv-{name}") if environment.name == ".venv" else environment / name


def python() -> Path:
    """The environment's interpreter, installed or not."""
    return folder() / "bin" / "python"


def install() -> bool:
    """Makes the environment unless it exists; whether it was made now. Raises LocalStackError.

    It is built under another name and renamed, so an interrupted installation is never taken for a complete one.
    """
    target = folder()
    if python().exists():
        return False
    try:
        with tempfile.TemporaryDirectory(prefix=".ministack-new-", dir=target.parent) as temporary:
            built = Path(temporary) / "environment"
            for command in _commands(built):
                _run(command)
            # A project ignores `.venv`, and perhaps not this folder. uv and newer versions of venv write this file too.
            (built / ".gitignore").write_text("*\n", encoding="utf-8")
            built.rename(target)
    except OSError as error:
        # Another `install` may have renamed its own in the meantime.
        if python().exists():
            return False
        raise LocalStackError(f"cannot write {error.filename or target}: {error.strerror}") from error
    return True


def _commands(built: Path) -> list[list[str]]:
    """What creates the environment at `built` and installs the lock file: with uv if there is one, else with pip."""
    built_python = str(built / "bin" / "python")
    requirements = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)]
    beside = Path(sys.executable).with_name("uv")
    if uv := str(beside) if beside.exists() else shutil.which("uv"):
        return [
            [uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(built)],
            [uv, "pip", "install", "--quiet", "--python", built_python, *requirements],
        ]
    pip = [built_python, "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return [[sys.executable, "-I", "-m", "venv", str(built)], [*pip, *requirements]]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise LocalStackError(f"MiniStack could not be installed (exit {done.returncode} of {command[0]}): {said}")
