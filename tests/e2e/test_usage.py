"""The commands of the documents, run as written in one shell, and their output compared with the output shown there."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USAGE = (ROOT / "docs" / "usage.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
BLOCK = re.compile(r"```sh\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)
# Times, unique ids and the hash of a stack differ from run to run.
VARYING = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}|(?<![0-9a-f])[0-9a-f]{8}(?=-ORDER)"
)

END = "the end of a block"


def commands(text, at_least):
    blocks = [(sh, shown) for sh, shown in BLOCK.findall(text) if not sh.startswith("make up")]
    assert len(blocks) >= at_least
    return blocks


def as_patterns(shown):
    """One pattern for each shown line; the varying parts match anything."""
    return [re.compile(".+".join(map(re.escape, VARYING.split(line)))) for line in shown.splitlines()]


def prints(shell, sh, shown):
    """Whether the output has every shown line, in any order (an index has no order), and the output."""
    output = shell.run(sh)
    return all(any(line.fullmatch(found) for found in output) for line in as_patterns(shown)), output


class Shell:
    """One bash, so that a later block can use the variables of an earlier one."""

    def __init__(self, environment, folder):
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self._bash = subprocess.Popen(["bash", "-euo", "pipefail"], env=environment, cwd=folder, text=True, **streams)

    def run(self, sh):
        """The lines that it prints."""
        self._bash.stdin.write(f"{{\n{sh}\n}} </dev/null\necho; echo {END}\n")  # a file may lack its last line end
        self._bash.stdin.flush()
        lines = []
        for line in self._bash.stdout:
            if line.strip() == END:
                return lines
            lines.append(line.rstrip("\n"))
        raise AssertionError(f"exit code {self._bash.wait()}: {lines}")

    def close(self):
        self._bash.communicate()


@pytest.fixture
def shell(stack, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    for command, arguments in {"aws": "-m awscli ", "python3": ""}.items():
        (folder / command).write_text(f'#!/bin/sh\nexec "{ROOT}/.venv/bin/python" {arguments}"$@"\n')
        (folder / command).chmod(0o755)
    shell = Shell(stack.environment | {"PATH": f"{folder}:/usr/bin:/bin"}, tmp_path)
    yield shell
    shell.close()


def test_the_commands_of_the_usage_page_print_the_output_shown(shell, pipeline):
    for sh, shown in commands(USAGE, at_least=8):
        if not shown:
            shell.run(sh)
        elif "send-message" in sh:
            matches, output = prints(shell, sh, shown)
            assert matches, output
        else:
            pipeline.until(lambda sh=sh, shown=shown: prints(shell, sh, shown)[0], f"{sh}\nto print\n{shown}")


def test_the_commands_of_the_operations_page_bring_a_dead_letter_back(shell, pipeline):
    connect, *_ = (sh for sh, _ in commands(USAGE, at_least=8) if sh.startswith("output()"))
    shell.run(connect)
    (start, _), (watch, shown), *_ = commands(OPERATIONS, at_least=2)
    pipeline.sqs.send_message(QueueUrl=pipeline.outputs["OrdersDlqUrl"], MessageBody='{"orderId": "FROM-THE-DLQ"}')
    shell.run(start)
    pipeline.until(lambda: prints(shell, watch, shown)[0], f"{watch}\nto print\n{shown}")
    assert pipeline.ended("FROM-THE-DLQ").state == "COMPLETED"
