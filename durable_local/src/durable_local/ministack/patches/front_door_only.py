# mypy: disable-error-code="import-not-found"
"""Lets only the front door in.

MiniStack listens on a port that every program of this machine can reach, and so every web page. Each request must
carry the secret that the front door sent through standard input; the header is removed before MiniStack sees it, so
that no handler gets it with an event.
"""

from __future__ import annotations

import hmac
import os
from typing import Any

# The front door asks here whether MiniStack gave out an access key.
KEY_PATH = "/_local_stack/key"
KEY_HEADER = b"x-local-stack-key"


def read_secret() -> tuple[bytes, bytes]:
    """The header's name, in lower case, and its value: the first line of standard input."""
    line = b""
    # Byte by byte: whatever follows the line stays in the pipe.
    while (byte := os.read(0, 1)) not in {b"\n", b""}:
        line += byte
    name, _, value = line.partition(b": ")
    if not value:
        raise RuntimeError("the front door sent no secret")
    return name.lower(), value


def guarded(app: Any, header: bytes, secret: bytes) -> Any:
    """The same ASGI application for requests that carry the secret; 403 for all others."""

    async def guard(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name.lower() == header]
        if len(given) != 1 or not hmac.compare_digest(given[0], secret):
            print(f"refused: a {scope['type']} request that is not the front door's", flush=True)
            await _answer(scope, send, 403)
        elif scope["path"] == KEY_PATH:
            await _answer(scope, send, 204 if _is_issued(dict(scope["headers"]).get(KEY_HEADER, b"")) else 404)
        else:
            others = [(name, value) for name, value in scope["headers"] if name.lower() != header]
            await app({**scope, "headers": others}, receive, send)

    return guard


def _is_issued(key: bytes) -> bool:
    """Whether this MiniStack's STS or IAM gave out the access key, and it is valid now."""
    from ministack.core import iam_evaluator  # noqa: PLC0415 - not before sys.executable is set

    # MiniStack takes some keys for the root user's: those are in its source, not given out.
    name = key.decode("latin-1")
    if iam_evaluator.is_root_access_key(name):
        return False
    return isinstance(iam_evaluator.resolve_credential(name), iam_evaluator.ResolvedCredential)


async def _answer(scope: Any, send: Any, status: int) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
