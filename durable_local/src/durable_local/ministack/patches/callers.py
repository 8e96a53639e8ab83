# mypy: disable-error-code="import-not-found"
"""Which worker made a request, told in its user agent.

Every AWS SDK of a worker says that it is a handler's (AWS_SDK_UA_APP_ID). Here it also says in which process, so
that a fault can be done to the very worker that made a request. Python only: nobody needs more.
"""

from __future__ import annotations

# Where MiniStack's worker program has its environment complete, before it imports the handler.
THEIRS = "    os.environ.update(env)\n"
OURS = THEIRS + '    os.environ["AWS_SDK_UA_APP_ID"] += "-" + str(os.getpid())\n'


def install() -> None:
    """Changes the worker's program."""
    from ministack.core import lambda_runtime  # noqa: PLC0415 - not before sys.executable is set

    program: str = lambda_runtime._PYTHON_WORKER_SCRIPT  # noqa: SLF001 - there is no public way
    if program.count(THEIRS) != 1:
        raise RuntimeError("MiniStack's worker program has changed: see callers.py")
    lambda_runtime._PYTHON_WORKER_SCRIPT = program.replace(THEIRS, OURS)  # noqa: SLF001
