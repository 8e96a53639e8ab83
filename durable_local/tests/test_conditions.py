"""Conditions of DynamoDB: the patch that reads their text once for all items of a request."""

import json
import subprocess
from pathlib import Path

from durable_local.settings import Settings

HERE = Path(__file__).parent
PATCHES = HERE.parent / "src" / "durable_local" / "ministack"


def test_queries_are_answered_as_ministack_does_and_their_conditions_read_once():
    command = [Settings().ministack_python, HERE / "random_conditions.py", PATCHES, "1"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert min(found["items"], found["nothing"], found["errors"], found["following"]) > 20
    without, patched = found["read"]
    assert (without > 10, patched) == (True, 1)
