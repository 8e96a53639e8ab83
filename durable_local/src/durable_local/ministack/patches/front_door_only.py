"""Refuses every request that does not come from the front door.

Every program and every web page on this machine can reach MiniStack's port. Each request must have the secret that the
front door sent through standard input. The header is removed before MiniStack reads the request, so that no handler
gets it with an event.
"""

import hmac
import os
from typing import Any

from .patching import Patch

# The front door asks here whether MiniStack issued an access key.
KEY_PATH = "/_local_stack/key"
KEY_HEADER = b"x-local-stack-key"

IAM = "ministack.core.iam_evaluator"
patch = Patch(__name__)
is_root_access_key = patch.uses(IAM, "is_root_access_key")
resolve_credential = patch.uses(IAM, "resolve_credential")
resolved_credential = patch.uses(IAM, "ResolvedCredential")


def read_secret() -> tuple[bytes, bytes]:
    """The header's name, in lower case, and its value: the first line of standard input."""
    line = b""
    # Byte by byte, so that what follows the line stays in the pipe.
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
    """Whether this MiniStack's STS or IAM issued the access key, and it is valid now."""
    name = key.decode("latin-1")
    # The keys that MiniStack accepts as the root user's are in its source code.
    return not is_root_access_key.call(name) and isinstance(resolve_credential.call(name), resolved_credential.get())


async def _answer(scope: Any, send: Any, status: int) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
