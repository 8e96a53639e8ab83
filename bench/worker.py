"""A function's process, as Lambda keeps it: it loads a handler once, and runs it for each line of standard input.

    python worker.py orchestrator.handler       with the function's code on PYTHONPATH

It answers each line with a line of JSON in the file descriptor ANSWERS: the milliseconds and CPU milliseconds of the
handler, and what it returned. The first line says that the handler is loaded. Standard output is for log lines. It
needs the standard library alone.
"""

import importlib
import json
import os
import sys
import time
from types import SimpleNamespace

answers = os.fdopen(int(os.environ["ANSWERS"]), "w", buffering=1)

handler = importlib.import_module(sys.argv[1]).handler
answers.write("{}\n")

for line in sys.stdin:
    event = json.loads(line)
    context = SimpleNamespace(
        aws_request_id="0a1b2c3d",
        function_name="orders",
        function_version="1",
        memory_limit_in_mb=1024,
        invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:orders:prod",
        get_remaining_time_in_millis=lambda: 30_000,
    )
    cpu, began = time.process_time(), time.perf_counter()
    returned = handler(event, context)
    ms, cpu_ms = (time.perf_counter() - began) * 1000, (time.process_time() - cpu) * 1000
    answers.write(json.dumps({"ms": ms, "cpu_ms": cpu_ms, "returned": returned}) + "\n")
