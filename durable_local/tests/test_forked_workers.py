"""Workers that are forks: their streams and environment, how they end, and when a function gets its own interpreter."""

import ctypes
import os
import signal
import subprocess
import sys
from subprocess import PIPE

import pytest

from durable_local.ministack.patches import forked_workers

PROGRAM = (
    "import os, sys\nprint(__name__, os.getcwd(), os.environ.get('NAME'), 'boto3' in sys.modules, file=sys.stderr)\n"
)

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux gives a process the children of its children"
)


@pytest.fixture(scope="module", autouse=True)
def adopts_children():
    """What MiniStack does at its start, undone at the end."""
    prctl = ctypes.CDLL(None).prctl
    prctl(forked_workers.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    prctl(forked_workers.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    forked_workers.server = forked_workers.ForkServer()


@pytest.fixture
def start(tmp_path):
    """Starts a worker with this text at the end of its program; `code` is its folder."""
    code = tmp_path / "code"
    code.mkdir()

    def start(end="", **variables):
        (tmp_path / "worker.py").write_text(PROGRAM + end)
        return forked_workers.start(
            [sys.executable, str(tmp_path / "worker.py")],
            cwd=str(code),
            env={**os.environ, **variables},
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            text=True,
            bufsize=1,
        )

    return start


def test_a_worker_has_its_streams_its_folder_its_environment_and_what_is_imported(start, tmp_path):
    worker = start("print(sys.stdin.readline().upper())", NAME="enricher")
    said, log = worker.communicate("a line\n")
    assert said.split() == ["A", "LINE"]
    assert log.split() == ["__main__", str(tmp_path / "code"), "enricher", "True"]
    assert worker.returncode == 0


def test_a_worker_has_no_variable_of_another(start):
    start(NAME="first").communicate()
    assert start().communicate()[1].split()[2] == "None"


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("sys.exit(3)", 3),
        ("os._exit(4)", 4),
        ("raise ValueError", 1),
        (f"os.kill(os.getpid(), {int(signal.SIGKILL)})", -signal.SIGKILL),
    ],
)
def test_the_end_of_a_worker_is_seen(start, end, code):
    assert start(end).wait() == code


def test_a_worker_can_be_ended(start):
    worker = start("sys.stdin.readline()")
    assert worker.poll() is None
    worker.kill()
    assert worker.wait() == -signal.SIGKILL


@pytest.mark.parametrize("name", ["boto3.py", "json.py", "pydantic", "botocore.abi3.so"])
def test_a_function_with_a_module_of_its_own_gets_its_own_interpreter(start, tmp_path, name):
    (tmp_path / "code" / name).mkdir()
    assert start().communicate()[1].split()[3] == "False"


@pytest.mark.parametrize("variable", ["PYTHONWARNINGS", "LD_PRELOAD", "TZ", "_LAMBDA_LAYERS_DIRS"])
def test_a_variable_that_python_reads_at_its_start_gets_its_own_interpreter(start, variable):
    assert start(**{variable: ""}).communicate()[1].split()[3] == "False"


def test_a_worker_starts_without_the_server(start, monkeypatch):
    ended = forked_workers.ForkServer()
    monkeypatch.setattr(forked_workers, "server", ended)
    start().communicate()
    ended._server.shutdown(2)
    assert start().communicate()[1].split()[3] == "False"


def test_another_program_is_no_fork(tmp_path):
    with forked_workers.start(["cat"], stdin=PIPE, stdout=PIPE, text=True) as other:
        assert type(other) is subprocess.Popen
        assert other.communicate("text")[0] == "text"
