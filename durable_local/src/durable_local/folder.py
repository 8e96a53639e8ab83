"""A stack's folder: only the user can read it, and only one command at a time can change it."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from durable_local.errors import LocalStackError
from durable_local.settings import Settings

MAX_LOCK_ATTEMPTS = 100
# For every process of the stack: files 0600, folders 0700.
UMASK = 0o077


@contextlib.contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Creates the folder and locks it for one command; afterwards removes it if it is empty.

    The operating system releases the lock when the process ends. Raises LocalStackError if another command has the
    lock, or if the folder cannot be written.
    """
    lock = settings.directory / "lock"
    descriptor = _acquire(settings, lock)
    try:
        yield
    finally:
        # Before the lock is released: a process that has opened this file then sees that it is not at this path.
        lock.unlink(missing_ok=True)
        for folder in (settings.directory, settings.home):
            with contextlib.suppress(OSError):
                folder.rmdir()
        os.close(descriptor)


def _acquire(settings: Settings, lock: Path) -> int:
    for _ in range(MAX_LOCK_ATTEMPTS):
        descriptor = -1
        try:
            _make(settings)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), lock.stat()):
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            message = f"another command is at work on the stack of port {settings.port}; try again when it has ended"
            raise LocalStackError(message) from error
        except FileNotFoundError:
            pass  # Another command has just ended and removed the folder.
        except OSError as error:
            raise LocalStackError(f"cannot write {settings.directory}: {error.strerror}") from error
        if descriptor >= 0:
            os.close(descriptor)
    raise LocalStackError(f"cannot write {settings.directory}")


def _make(settings: Settings) -> None:
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.directory.mkdir(mode=0o700, exist_ok=True)
    settings.directory.chmod(0o700)
    # A folder that the user named may be shared on purpose; `.local` may exist from an earlier version.
    if settings.home == Settings.home.resolve():
        settings.home.chmod(0o700)


def create(path: Path, mode: int = 0o600) -> BinaryIO:
    """Replaces `path` by an empty file, open for writing, with `mode` for any umask."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    os.fchmod(descriptor, mode)
    return os.fdopen(descriptor, "wb")


def clear(settings: Settings, *, logs: bool) -> None:
    """Removes the stack's files, except kept state; logs only with `logs` and if there is no kept state."""
    with contextlib.suppress(OSError):
        if f"AWS_ENDPOINT_URL={settings.endpoint}\n" in settings.environment_file.read_text(encoding="utf-8"):
            settings.environment_file.unlink()
    for folder in (settings.temporary, settings.scripts):
        shutil.rmtree(folder, ignore_errors=True)
    if logs and not settings.state.exists():
        for log in settings.directory.glob("*.log"):
            log.unlink(missing_ok=True)
