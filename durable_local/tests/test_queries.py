"""Queries of DynamoDB: the patch that answers one without a look at every item of the partition."""

import json
import subprocess
from pathlib import Path

from durable_local.settings import Settings

HERE = Path(__file__).parent
PATCHES = HERE.parent / "src" / "durable_local" / "ministack"


def test_queries_are_answered_as_ministack_does_and_read_their_condition_once():
    command = [Settings().ministack_python, HERE / "random_queries.py", PATCHES, "1"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert min(found["items"], found["nothing"], found["errors"], found["following"]) > 20
    without, patched = found["read"]
    # Once to check it, and once by MiniStack itself.
    assert (without > 10, patched) == (True, 2)
