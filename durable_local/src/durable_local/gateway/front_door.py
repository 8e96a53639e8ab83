"""The one endpoint: what of a request goes to the durable runner, and what to MiniStack.

Only two things do not go to MiniStack: Invoke of a durable function, and the durable API.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Never
from urllib.parse import parse_qs, unquote

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from durable_local.errors import ApiError
from durable_local.function_reference import FunctionReference
from durable_local.gateway.paths import HEALTH_PATH, LARGEST_BODY
from durable_local.settings import REGION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from concurrent.futures import Executor

    from durable_local.gateway.durable_api import DurableApi
    from durable_local.gateway.functions import Functions
    from durable_local.gateway.invoke import DurableInvoke
    from durable_local.ministack.child import MiniStackAddress

logger = logging.getLogger(__name__)

INVOKE_PATH = re.compile(r"/2015-03-31/functions/([^/]+)/(?:response-streaming-)?invocations")
DURABLE_API_PREFIX = "/2025-12-01/"
FUNCTION_WRITE_PATH = re.compile(r"/\d{4}-\d{2}-\d{2}/functions")

SIGNED_REGION = re.compile(r"(Credential=[^/,]+/\d{8}/)[a-z0-9-]+/")

# They belong to one connection, and there are two; `Expect` was answered when the body was read.
CORS_PREFIX = "access-control-"
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
    }
)
# Up to this size, bodies and answers are passed on in one piece; larger ones as they come.
WHOLE_BYTES = 1024 * 1024
LARGEST_BODY_BYTES = 256 * 1024 * 1024
# See ministack/patches/front_door_only.py.
KEY_PATH = "/_local_stack/key"
KEY_HEADER = "X-Local-Stack-Key"


class FrontDoor:
    """Routes every request of the stack."""

    def __init__(  # noqa: PLR0917 - the rooms it stands in front of
        self,
        session: aiohttp.ClientSession,
        ministack: MiniStackAddress,
        functions: Functions,
        durable_invoke: DurableInvoke,
        durable_api: DurableApi,
        threads: Executor,
        identity: dict[str, str],
    ) -> None:
        self._session = session
        self._ministack = ministack
        self._functions = functions
        self._durable_invoke = durable_invoke
        self._durable_api = durable_api
        self._threads = threads
        self._identity = identity

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request, also when this program fails."""
        return await self.answer(request)

    async def body_of(self, request: web.BaseRequest) -> bytes:
        """The whole body, as it came. Raises ApiError (413) for one that is too large."""
        return b"".join([part async for part in Body(request)])

    async def is_issued(self, access_key_id: str) -> bool:
        """Whether MiniStack's STS or IAM gave out the key, and it is valid now."""
        headers = {**self._ministack.keys.headers, KEY_HEADER: access_key_id}
        async with self._session.get(self._ministack.url + KEY_PATH, headers=headers) as answer:
            return answer.status == HTTPStatus.NO_CONTENT

    async def answer(self, request: web.BaseRequest, body: bytes | None = None) -> web.StreamResponse:
        """What the request asks for, done, and its answer. `body`: what was read of the request before."""
        try:
            return await self._route(request, body)
        except ApiError as error:
            return refusal(error)
        except (ConnectionResetError, asyncio.CancelledError):
            raise
        except Exception:
            logger.exception("%s %s", request.method, request.raw_path)
            failure = ApiError("ServiceException", "the local stack failed; see its log", 500)
            return web.Response(status=failure.status, headers=failure.headers, body=failure.body)

    async def _route(self, request: web.BaseRequest, body: bytes | None) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if request.method == "POST" and (invoke := INVOKE_PATH.fullmatch(path)):
            answer = await self._invoke_if_durable(unquote(invoke[1]), query, request, body)
            if answer is not None:
                return answer
        elif path.startswith(DURABLE_API_PREFIX):
            loop = asyncio.get_running_loop()
            content = await self.body_of(request) if body is None else body
            return await loop.run_in_executor(
                self._threads, self._durable_api, request.method, request.raw_path, content
            )
        elif path == HEALTH_PATH:
            return web.json_response(self._identity)
        elif _may_change_a_function(request, path):
            self._functions.forget()
        return await self._forward(request, body)

    async def _invoke_if_durable(
        self, name: str, query: str, request: web.BaseRequest, body: bytes | None
    ) -> web.Response | None:
        """None for a plain function, and for one that does not exist: MiniStack says that itself."""
        try:
            qualifier = parse_qs(query).get("Qualifier", [None])[0]
            reference = FunctionReference.parse(name, qualifier)
            if self._functions.is_known_plain(reference):
                return None
            function = await self._functions.describe(reference)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        if function.durable is None:
            return None
        content = await self.body_of(request) if body is None else body
        return await self._durable_invoke(reference, function, function.durable, request.headers, content)

    def _for_ministack(self, headers: aiohttp.typedefs.LooseHeaders) -> CIMultiDict[str]:
        passed_on = _in_this_region(_end_to_end(headers))
        passed_on.update(self._ministack.keys.headers)
        return passed_on

    async def _forward(self, request: web.BaseRequest, body: bytes | None) -> web.StreamResponse:
        data: Body | bytes | None = Body(request) if body is None and _is_large(request) else body
        if data is None:
            data = await self.body_of(request)
        try:
            async with self._session.request(
                request.method,
                URL(self._ministack.url + request.raw_path, encoded=True),
                headers=self._for_ministack(request.headers),
                data=data or None,
                allow_redirects=False,
            ) as answer:
                headers = _without_cors(_end_to_end(answer.headers))
                length = answer.content_length
                if request.method == "HEAD" or (length is not None and length <= WHOLE_BYTES):
                    content = await answer.read()
                    return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=content)
                return await _stream(request, answer, headers)
        except aiohttp.ClientError as error:
            if isinstance(data, Body) and data.error is not None:
                raise data.error from None
            message = f"MiniStack did not answer: {error}"
            raise ApiError("ServiceException", message, HTTPStatus.BAD_GATEWAY) from error


def refusal(error: ApiError) -> web.Response:
    """The error as AWS Lambda answers it."""
    headers = error.headers | {"x-amzn-RequestId": str(uuid.uuid4())}
    return web.Response(status=error.status, headers=headers, body=error.body)


class Body:
    """A request's body, part by part: read once, and of `LARGEST_BODY_BYTES` or the request's own limit at most."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self._is_read = False
        self.error: ApiError | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises ApiError (413), and keeps it as `error`: aiohttp's client replaces it with one of its own."""
        if self._is_read:
            raise RuntimeError("the body of a request can be read once")
        self._is_read = True
        request = self._request
        largest: int = request.get(LARGEST_BODY, LARGEST_BODY_BYTES)
        if (request.content_length or 0) > largest:
            self._refuse(largest)
        if request.headers.get("Expect", "").lower() == "100-continue":
            # S3 clients hold an object back until they hear this, for a second.
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        size = 0
        async for part in request.content.iter_any():
            size += len(part)
            if size > largest:
                self._refuse(largest)
            yield part

    def _refuse(self, largest: int) -> Never:
        message = f"The local stack takes a body of at most {largest} bytes with this request."
        self.error = ApiError("RequestTooLargeException", message, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        raise self.error


def _is_large(request: web.BaseRequest) -> bool:
    return request.body_exists and (request.content_length is None or request.content_length > WHOLE_BYTES)


def client_session() -> aiohttp.ClientSession:
    """Connections to MiniStack: as many as there are requests, for as long as those take (long polls)."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def server(door: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> web.Server:
    """Bodies and paths reach the door exactly as they came."""
    return web.Server(door, access_log=None, auto_decompress=False, keepalive_timeout=75)


async def _stream(
    request: web.BaseRequest, answer: aiohttp.ClientResponse, headers: CIMultiDict[str]
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


def _end_to_end(headers: aiohttp.typedefs.LooseHeaders) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in CIMultiDict(headers).items() if name.lower() not in HOP_BY_HOP)


def _without_cors(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    """MiniStack allows every page to read its answers."""
    return CIMultiDict((name, value) for name, value in headers.items() if not name.lower().startswith(CORS_PREFIX))


def _in_this_region(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    """Signed for the stack's region, whichever the client signed for: a stack is one region, and nobody checks."""
    if "Authorization" in headers:
        headers["Authorization"] = SIGNED_REGION.sub(rf"\g<1>{REGION}/", headers["Authorization"])
    return headers


def _may_change_a_function(request: web.BaseRequest, path: str) -> bool:
    if request.method == "GET":
        return False
    return bool(FUNCTION_WRITE_PATH.match(path)) or "/cloudformation/" in request.headers.get("Authorization", "")
