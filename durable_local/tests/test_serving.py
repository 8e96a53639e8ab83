"""How MiniStack's responses are written: in its own environment, to a transport that notes each call."""

import json
import subprocess
from pathlib import Path

import pytest

from durable_local.ministack import child
from durable_local.settings import Settings

PROGRAM = """
import asyncio, json
import serving
from uvicorn import Config
from uvicorn.server import ServerState

class Noted(asyncio.Transport):
    def __init__(self):
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.calls = []

    def write(self, data):
        self.calls.append(data.decode())

    def writelines(self, parts):
        self.write(b"".join(parts))

    def is_closing(self):
        return "closed" in self.calls

    def close(self):
        self.calls.append("closed")

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"body"})

async def response():
    config = Config(app, lifespan="off", log_config=None, access_log=False)
    config.load()
    transport = Noted()
    protocol = serving.Protocol(config=config, server_state=ServerState(), app_state={})
    protocol.connection_made(transport)
    protocol.data_received(b"GET / HTTP/1.1\\r\\nHost: ministack\\r\\n\\r\\n")
    while not "".join(transport.calls).endswith("body"):
        await asyncio.sleep(0)
    return transport.calls

async def large():
    transport = Noted()
    serving.OneWrite(transport).write(b"x" * (serving.MAX_HELD_BYTES + 1))
    return len(transport.calls)

async def closed():
    transport = Noted()
    writer = serving.OneWrite(transport)
    writer.write(b"last")
    writer.close()
    return transport.calls

print(json.dumps([asyncio.run(what()) for what in (response, large, closed)]))
"""


@pytest.fixture(scope="module")
def written():
    done = subprocess.run(
        [Settings().ministack_python, "-c", PROGRAM],
        env={"PYTHONPATH": str(Path(child.__file__).parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    response, large, closed = json.loads(done.stdout)
    return {"response": response, "large": large, "closed": closed}


def test_the_headers_and_the_body_of_a_response_are_one_write(written):
    [response] = written["response"]
    assert response.startswith("HTTP/1.1 200 OK")
    assert response.endswith("body")


def test_large_data_is_written_at_once(written):
    assert written["large"] == 1


def test_what_is_held_is_written_before_the_connection_closes(written):
    assert written["closed"] == ["last", "closed"]
