"""Two hundred concurrent executions: they succeed, their memory is freed, and no process is left at the end."""

import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.config import Config

from durable_local import local_stack, processes

FIXTURE = Path(__file__).parent / "fixture" / "template.yaml"
AT_ONCE = 200
# What the interpreter and SQLite's cache may keep, beside the room that the inputs took while their executions ran:
# nothing is held of one that has ended (test_runner proves that), but freed memory is not given back at once.
GROWTH_BYTES = 12 * 1024 * 1024
MAX_THREADS = 64  # its pools': 32 for the API, 8 lanes, 6 and 6 for invocations, and its own
PADDING = "x" * 20_000

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc")


@pytest.fixture(scope="module")
def loaded():
    with local_stack(template=FIXTURE, stack_name="load") as running:
        yield running


def test_two_hundred_concurrent_executions_succeed_and_free_their_memory(loaded, eventually):
    aws_lambda = loaded.client("lambda", Config(max_pool_connections=20))
    front_door = processes.front_door_of(loaded.settings.directory)

    def burst(number, of):
        def start(index):
            response = aws_lambda.invoke(
                FunctionName=loaded.outputs["Durable"],
                InvocationType="Event",
                DurableExecutionName=f"burst-{number}-{index}",
                Payload=json.dumps({"wait": 3, "padding": PADDING}).encode(),
            )
            response["Payload"].read()

        with ThreadPoolExecutor(10) as callers:
            list(callers.map(start, range(of)))
        assert len(executions("RUNNING")) > of / 2
        eventually(lambda: not executions("RUNNING"), 120)

    def executions(status):
        pages = aws_lambda.get_paginator("list_durable_executions_by_function").paginate(
            FunctionName=loaded.outputs["DurableName"], Statuses=[status]
        )
        return [execution for page in pages for execution in page["DurableExecutions"]]

    burst(1, AT_ONCE // 4)
    before = held_by(front_door)
    burst(2, AT_ONCE)
    after = held_by(front_door)
    assert len(executions("SUCCEEDED")) == AT_ONCE // 4 + AT_ONCE
    assert after["threads"] < MAX_THREADS
    assert after["files"] <= before["files"] + 10
    assert after["bytes"] - before["bytes"] < 2 * AT_ONCE * len(PADDING) + GROWTH_BYTES


def test_a_killed_front_door_leaves_no_process_and_no_port(loaded, eventually):
    aws_lambda = loaded.client("lambda")
    for _ in range(20):
        aws_lambda.invoke(FunctionName=loaded.outputs["Durable"], InvocationType="Event", Payload=b'{"wait": 30}')
    directory = loaded.settings.directory
    mine = processes.of_stack(directory)
    parents = {int(status_of(worker)["PPid"]) for worker in processes.workers(directory)}
    assert parents == {processes.ministack_of(directory)} < {*mine}
    ports = listening(mine)
    assert loaded.settings.port in ports

    os.kill(processes.front_door_of(directory), signal.SIGKILL)
    eventually(lambda: not processes.of_stack(directory))
    # A process that ends loses its name before its sockets.
    eventually(lambda: all(map(is_free, ports)))


def held_by(pid):
    """A process's resident memory, threads and open files."""
    status = status_of(pid)
    return {
        "bytes": int(status["VmRSS"].split()[0]) * 1024,
        "threads": int(status["Threads"]),
        "files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
    }


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def listening(pids):
    """The ports on which these processes listen."""
    inodes = set()
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(str(entry.readlink()))
            except OSError:
                continue
    ports = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
            ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def status_of(pid):
    return dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
