"""The README's commands, run as written in one shell, and what they print compared with what it shows."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
USE_IT = README.partition("\n## Use it\n")[2].partition("\n## ")[0]
BLOCK = re.compile(r"```sh\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)
# What differs from run to run: times, unique ids, the hash of a stack.
VARYING = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}|(?<![0-9a-f])[0-9a-f]{8}(?=-ORDER)"
)


def commands():
    blocks = [(sh, shown) for sh, shown in BLOCK.findall(USE_IT) if not sh.startswith("make up")]
    assert len(blocks) >= 8
    return blocks


def as_pattern(shown):
    """The shown lines, each in any order (an index promises none), with what varies left open."""
    return [re.compile(".+".join(map(re.escape, VARYING.split(line)))) for line in shown.splitlines()]


def prints(shell, sh, shown):
    output = shell.run(sh)
    return all(any(line.fullmatch(found) for found in output) for line in as_pattern(shown)), output


class Shell:
    """One bash, so that the variables of one block are there in the next."""

    def __init__(self, environment, folder):
        self._environment = environment
        self._folder = folder
        self._before = ""

    def run(self, sh):
        script = f"set -euo pipefail\n{self._before}\necho ---\n{sh}"
        done = subprocess.run(
            ["bash", "-c", script], env=self._environment, cwd=self._folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.partition("---\n")[2].splitlines()

    def remember(self, sh):
        self._before += sh


@pytest.fixture
def shell(stack, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    for command, arguments in {"aws": "-m awscli ", "python3": ""}.items():
        (folder / command).write_text(f'#!/bin/sh\nexec "{ROOT}/.venv/bin/python" {arguments}"$@"\n')
        (folder / command).chmod(0o755)
    return Shell(stack.environment | {"PATH": f"{folder}:/usr/bin:/bin"}, tmp_path)


def test_the_readmes_commands_run_as_written_and_print_what_it_shows(shell, pipeline):
    for sh, shown in commands():
        if not shown:
            shell.run(sh)
            shell.remember(sh)
        elif "send-message" in sh:
            matches, output = prints(shell, sh, shown)
            assert matches, output
        else:
            pipeline.until(lambda sh=sh, shown=shown: prints(shell, sh, shown)[0], f"{sh}\nto print\n{shown}")


def test_every_file_the_readme_links_to_is_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
