"""Forwards requests to MiniStack, which is every AWS service of the stack except durable executions."""

import re
from http import HTTPStatus

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from durable_local.errors import ApiError
from durable_local.gateway.front_door import NextStep
from durable_local.gateway.incoming import MAX_WHOLE_BYTES, Incoming
from durable_local.ministack.child import MiniStackAddress
from durable_local.settings import REGION

SIGNED_REGION = re.compile(r"(Credential=[^/,]+/\d{8}/)[a-z0-9-]+/")
CORS_PREFIX = "access-control-"
# These headers belong to one connection, and a proxy has two. `Expect` is answered when the body is read.
HOP_BY_HOP = frozenset(
    """connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding
    upgrade expect""".split()
)
# See ministack/patches/front_door_only.py.
KEY_PATH = "/_local_stack/key"
KEY_HEADER = "X-Local-Stack-Key"


class MiniStackProxy:
    """The last step: it answers every request that no other step has answered."""

    def __init__(self, session: aiohttp.ClientSession, address: MiniStackAddress) -> None:
        self._session = session
        self._address = address

    async def is_issued(self, access_key_id: str) -> bool:
        """Whether MiniStack's STS or IAM issued the access key, and it is valid now."""
        headers = {**self._address.keys.headers, KEY_HEADER: access_key_id}
        async with self._session.get(self._address.url + KEY_PATH, headers=headers) as answer:
            return answer.status == HTTPStatus.NO_CONTENT

    async def handle(self, request: Incoming, next_step: NextStep) -> web.StreamResponse:  # noqa: ARG002 - the last
        """MiniStack's answer; raises ApiError (502) when there is none."""
        try:
            async with self._session.request(
                request.method,
                URL(self._address.url + request.http.raw_path, encoded=True),
                headers=self._headers(request),
                data=request if request.is_to_stream else await request.body() or None,
                allow_redirects=False,
            ) as answer:
                headers = _without_cors(_end_to_end(answer.headers))
                length = answer.content_length
                if request.method == "HEAD" or (length is not None and length <= MAX_WHOLE_BYTES):
                    content = await answer.read()
                    return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=content)
                return await _stream(request, answer, headers)
        except aiohttp.ClientError as error:
            if request.body_error is not None:
                raise request.body_error from None
            message = f"MiniStack did not answer: {error}"
            raise ApiError("ServiceException", message, HTTPStatus.BAD_GATEWAY) from error

    def _headers(self, request: Incoming) -> CIMultiDict[str]:
        """The client's headers, signed for the stack's region: a stack has one region, and no signature is verified."""
        headers = _end_to_end(request.headers)
        if "Authorization" in headers:
            headers["Authorization"] = SIGNED_REGION.sub(rf"\g<1>{REGION}/", headers["Authorization"])
        headers.update(self._address.keys.headers)
        return headers


def client_session() -> aiohttp.ClientSession:
    """Connections to MiniStack: one for each request, without a time limit because of long polls."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def _stream(request: Incoming, answer: aiohttp.ClientResponse, headers: CIMultiDict[str]) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    await response.prepare(request.http)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


def _end_to_end(headers: aiohttp.typedefs.LooseHeaders) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in CIMultiDict(headers).items() if name.lower() not in HOP_BY_HOP)


def _without_cors(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    """MiniStack allows every web page to read its answers."""
    return CIMultiDict((name, value) for name, value in headers.items() if not name.lower().startswith(CORS_PREFIX))
