"""A request on its way through the gateway."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Never
from urllib.parse import unquote

from aiohttp import web

from durable_local.errors import ApiError

MAX_BODY_BYTES = 256 * 1024 * 1024
# Larger bodies are streamed.
MAX_WHOLE_BYTES = 1024 * 1024


class Incoming:
    """One request. As an async iterator it is its body, part by part, which can be read once.

    `path` and `query` are encoded, as the client sent them: an ARN has slashes, and only the encoding separates it
    from the rest of the path. `decoded_path` is the path as MiniStack reads it.
    """

    def __init__(self, http: web.BaseRequest) -> None:
        self.http = http
        self.method = http.method
        self.headers = http.headers
        self.path, _, self.query = http.raw_path.partition("?")
        self.decoded_path = unquote(self.path)
        self.max_body_bytes = MAX_BODY_BYTES
        self.body_error: ApiError | None = None
        self._body: bytes | None = None
        self._is_read = False

    @property
    def is_to_stream(self) -> bool:
        """Whether the body is large and nobody has read it yet."""
        if self._body is not None or not self.http.body_exists:
            return False
        return self.http.content_length is None or self.http.content_length > MAX_WHOLE_BYTES

    async def body(self) -> bytes:
        """The whole body, read at the first call; raises ApiError (413) for one that is too large."""
        if self._body is None:
            self._body = b"".join([part async for part in self])
        return self._body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises ApiError (413) and keeps it as `body_error`: aiohttp's client replaces it with an error of its own."""
        if self._is_read:
            raise RuntimeError("the body of a request can be read once")
        self._is_read = True
        if (self.http.content_length or 0) > self.max_body_bytes:
            self._refuse_body()
        if self.headers.get("Expect", "").lower() == "100-continue":
            # S3 clients wait a second for this before they send an object.
            await self.http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.http.writer.output_size = 0
        size = 0
        async for part in self.http.content.iter_any():
            size += len(part)
            if size > self.max_body_bytes:
                self._refuse_body()
            yield part

    def _refuse_body(self) -> Never:
        message = f"The local stack accepts a body of at most {self.max_body_bytes} bytes with this request."
        self.body_error = ApiError("RequestTooLargeException", message, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        raise self.body_error
