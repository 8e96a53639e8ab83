"""A Lambda endpoint that runs one function, as the testing SDK's runner needs it: each Invoke calls the handler.

    python endpoint.py timed.handler       with the handler's folder on PYTHONPATH

It prints its port, answers each request in a thread, writes headers and body at once, and ends when its standard input
is closed. It has nothing else of Lambda: no time limit, no log, no environment of its own for each invocation.
"""

import importlib
import json
import os
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

module, _, name = sys.argv[1].rpartition(".")
handler = getattr(importlib.import_module(module), name)
context = SimpleNamespace(
    aws_request_id="0a1b2c3d",
    function_name=module,
    function_version="1",
    memory_limit_in_mb=256,
    invoked_function_arn=f"arn:aws:lambda:us-east-1:123456789012:function:{module}:1",
    tenant_id=None,
    get_remaining_time_in_millis=lambda: 30_000,
)


class Invoke(BaseHTTPRequestHandler):
    """Every POST is an Invoke of the function."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self) -> None:
        """Run the handler."""
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(handler(event, context)).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Invoke)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
os._exit(0)
