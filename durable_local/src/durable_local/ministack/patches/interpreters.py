"""Chooses the interpreter for a function's code, and refuses code that cannot run on this machine.

A folder of sources runs in the functions' environment (`sys.executable` in this process), which has what
src/requirements.txt pins. A bundle of `sam build` or a zip has its own dependencies. Their compiled parts need one
version of Python and one processor: such code runs with that Python (`find_python`), without other packages, or it is
refused with the reason.
"""

import contextvars
import functools
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from .patching import Original, Patch

COMPILED = re.compile(r"\.cpython-(3)(\d+)-(\w+?)-linux-gnu\.so$")
PROCESSOR = {"x86_64": "x86_64", "AMD64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}

_interpreter: contextvars.ContextVar[str | None] = contextvars.ContextVar("interpreter", default=None)


RUNTIME = "ministack.core.lambda_runtime"
patch = Patch(__name__)


class CannotRunError(ValueError):
    """The code does not run on this machine; CloudFormation reports the text as the resource's reason."""


@patch.replaces(RUNTIME, "_detect_runtime_binary")
def detect(original: Original, runtime: str) -> tuple[str, str]:
    """The interpreter that was chosen for the worker, else MiniStack's choice."""
    binary, script = original(runtime)
    return _interpreter.get() or binary, script


@patch.replaces(f"{RUNTIME}:Worker", "_spawn")
def spawn(original: Original, worker: Any) -> Any:
    """Chooses the interpreter by the worker's code."""
    chosen = None
    if worker.config.get("Runtime", "").startswith("python"):
        chosen = interpreter(compiled_parts(worker.code_zip), sys.executable)
    token = _interpreter.set(chosen)
    try:
        return original(worker)
    finally:
        _interpreter.reset(token)


def check(name: str, config: dict[str, Any], code: bytes | None) -> None:
    """Raises CannotRunError, with the function's name, for code that cannot start here."""
    runtime = config.get("Runtime") or ""
    if config.get("PackageType") == "Image":
        raise CannotRunError(
            f"{name}: container images (PackageType: Image) need Docker, which this stack does without"
        )
    if runtime.startswith("nodejs"):
        if shutil.which("node") is None:
            raise CannotRunError(f"{name}: Runtime {runtime} needs `node` on PATH")
    elif not runtime.startswith(("python", "provided")):
        raise CannotRunError(f"{name}: Runtime {runtime or 'none'} is not supported here; Python and Node.js are")
    elif runtime.startswith("python") and code:
        try:
            interpreter(compiled_parts(code), sys.executable)
        except CannotRunError as error:
            raise CannotRunError(f"{name}: {error}") from None


def compiled_parts(code: bytes) -> set[tuple[str, str]]:
    """The versions of Python ("3.13") and processors ("x86_64", "arm64") of an archive's extension modules."""
    try:
        names = zipfile.ZipFile(io.BytesIO(code)).namelist()
    except zipfile.BadZipFile:
        return set()
    found = filter(None, map(COMPILED.search, names))
    return {(f"{match[1]}.{match[2]}", PROCESSOR.get(match[3], match[3])) for match in found}


def interpreter(parts: set[tuple[str, str]], functions_python: str) -> str | None:
    """The path of the Python for these compiled parts; None for `functions_python`. Raises CannotRunError."""
    if not parts:
        return None
    here = PROCESSOR.get(platform.machine(), platform.machine())
    if others := sorted({processor for _, processor in parts} - {here}):
        raise CannotRunError(
            f"its code is built for {others[0]} and this machine is {here}: build it for this one "
            f"(this project's template: make build ARCHITECTURE={here})"
        )
    versions = sorted({version for version, _ in parts})
    if len(versions) > 1:
        raise CannotRunError(f"its code is built for several Pythons at once: {', '.join(versions)}")
    if versions[0] == version_of(functions_python):
        return None
    if found := find_python(versions[0]):
        return found
    name = f"python{versions[0]}"
    raise CannotRunError(
        f"its code is built for Python {versions[0]}, and there is no {name} on PATH, in pyenv or in uv"
    )


def find_python(version: str) -> str | None:
    """The path of a Python of this version ("3.13"): uv's own, else on PATH, else pyenv's; None without one.

    This is the order of `uv python find`, which fails where pyenv's placeholder for another version is first on PATH.
    """
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    managed = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders = [
        *managed.glob(f"cpython-{version}.*/bin"),
        *map(Path, os.get_exec_path()),
        *pyenv.glob(f"versions/{version}.*/bin"),
    ]
    for folder in folders:
        # A version manager's placeholder has the name but may run no Python.
        found = shutil.which(f"python{version}", path=str(folder))
        if found and version_of(found) == version:
            return found
    return None


@functools.cache
def version_of(python: str) -> str:
    """The interpreter's version, such as "3.13"; empty when it does not run."""
    question = "import sys; print(*sys.version_info[:2], sep='.')"
    return subprocess.run([python, "-c", question], capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    if (python := find_python(sys.argv[1])) is None:
        sys.exit(1)
    print(python)
