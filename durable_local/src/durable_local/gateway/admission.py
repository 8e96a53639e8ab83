"""Which requests the front door takes at all.

Two kinds of caller must be kept out: web pages in the user's browser, and other users of this machine.

A browser says where a request comes from, and a page cannot change that: `Host` (also after DNS rebinding), `Origin`,
`Sec-Fetch-Site`. Everybody else must name an access key of the stack, which only its user can read. No signature is
verified: on the loopback, who could see the key of a request could take the request itself.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from aiohttp import web

from durable_local.gateway.paths import CONTROL_PREFIX, HEALTH_PATH, LARGEST_BODY
from durable_local.keys import SECRET_HEADER
from durable_local.settings import HOST

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from durable_local.keys import Keys

    Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

logger = logging.getLogger(__name__)

# MiniStack's own paths: reset, configuration, messages. Its aliases of LocalStack's are the same.
MINISTACK_PATH = re.compile(r"/+_(?:ministack|localstack)(?:/|$)")
# Where a custom resource and a wait condition send their result. AWS hands out presigned URLs for it; here the random
# id in the path is the key.
CLOUDFORMATION_ANSWER_PATH = re.compile(r"/_ministack/cfn-(?:response|signal)/[^/]+")
# The invoke paths of API Gateway, which is public on AWS too; but not its management of WebSocket connections.
PUBLIC_API_PATH = re.compile(
    r"/(?:_aws/execute-api/[^/]+/[^/]*|restapis/[^/]+/[^/]*/_user_request_)(?!/@connections/)(?:/.*)?", re.DOTALL
)
# What AWS's APIs use. CONNECT would be carried out with another path than the one that is checked here.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
# The form of an access key id (IAM, AccessKey.AccessKeyId).
ACCESS_KEY_ID = re.compile(r"[A-Za-z0-9_]{16,128}")
KEY_IN_AUTHORIZATION = re.compile(r"(?:AWS4-\S+ .*?Credential=([^/,\s]+)/|AWS ([^:\s]+):)")
SIGNED_SERVICE = re.compile(r"Credential=[^/]+/[^/]+/[^/]+/([^/]+)/")
LAMBDA_PATH = re.compile(r"/20\d\d-\d\d-\d\d/")
LONGEST_SHOWN = 100

SOURCE_ENVIRONMENT = (
    "The request names no access key of this local stack. "
    "Run `source .local/env` (in a plain sh: `. .local/env`) in this shell and try again."
)


class Admission:
    """Stands before everything else that answers requests."""

    def __init__(self, handler: Handler, port: int, keys: Keys, is_issued: Callable[[str], Awaitable[bool]]) -> None:
        """`is_issued`: whether the stack's own STS or IAM gave out an access key that is valid now."""
        self._handler = handler
        self._hosts = {f"{HOST}:{port}", f"localhost:{port}"}
        self._keys = keys
        self._is_issued = is_issued

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """The handler's answer, or a refusal."""
        reason = self._foreign(request)
        if reason is not None:
            logger.warning("refused: %s (%s %s)", reason, request.method, _shown(request.raw_path))
            return web.Response(status=HTTPStatus.FORBIDDEN, text=f"The local stack refused this request: {reason}.\n")
        if not await self._names_a_key(request):
            # One line for people; the client gets the words of the service it asked.
            logger.warning("refused: no access key of this stack (%s %s)", request.method, _shown(request.raw_path))
            return _unknown_key(request)
        return await self._handler(request)

    def _foreign(self, request: web.BaseRequest) -> str | None:
        """Why the request may not be from a program of the user's own; None if it can be."""
        host = _only(request, "Host")
        own_origin = f"http://{host}"
        origin = _only(request, "Origin", absent=own_origin)
        site = _only(request, "Sec-Fetch-Site", absent="none")
        checks = {
            f"Host is {_shown(host)}, not {' or '.join(sorted(self._hosts))}": host in self._hosts,
            f"Origin is {_shown(origin)}, another site": origin == own_origin,
            f"Sec-Fetch-Site is {_shown(site)}": site in {"same-origin", "none"},
            "CORS preflights are not answered": request.method != "OPTIONS",
            f"the method is {_shown(request.method)}": request.method in METHODS,
            "the request target is not a path": request.raw_path.startswith("/") and "#" not in request.raw_path,
            "MiniStack's own paths are closed": (
                _answers_cloudformation(request) or not MINISTACK_PATH.match(_path_at_ministack(request))
            ),
        }
        return next((reason for reason, holds in checks.items() if not holds), None)

    async def _names_a_key(self, request: web.BaseRequest) -> bool:
        if request.raw_path.startswith(CONTROL_PREFIX):
            given = request.headers.get(SECRET_HEADER, "").encode(errors="surrogateescape")
            return hmac.compare_digest(given, self._keys.internal.encode())
        if (largest := _largest_body_without_key(request)) is not None:
            request[LARGEST_BODY] = largest
            return True
        key = _named_key(request)
        if key is None or not ACCESS_KEY_ID.fullmatch(key):
            return False
        own = self._keys.credentials.access_key_id
        return hmac.compare_digest(key.encode(), own.encode()) or await self._is_issued(key)


def _path_at_ministack(request: web.BaseRequest) -> str:
    """As MiniStack reads it: decoded. What is compared here must be what is carried out there."""
    return unquote(request.raw_path.partition("?")[0])


def _largest_body_without_key(request: web.BaseRequest) -> int | None:
    """The largest body, in bytes, of a request that needs no key; None for one that needs a key."""
    if request.method == "GET" and request.raw_path == HEALTH_PATH:
        return 0
    if _answers_cloudformation(request):
        return 4096  # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
    if PUBLIC_API_PATH.fullmatch(_path_at_ministack(request)):
        return 10 * 1024 * 1024  # https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
    return None


def _answers_cloudformation(request: web.BaseRequest) -> bool:
    return request.method == "PUT" and bool(CLOUDFORMATION_ANSWER_PATH.fullmatch(_path_at_ministack(request)))


def _named_key(request: web.BaseRequest) -> str | None:
    """The access key id that the request is signed with: in its header, else in the query of a presigned URL."""
    if found := KEY_IN_AUTHORIZATION.match(request.headers.get("Authorization", "")):
        return found[1] or found[2]
    query = parse_qs(request.raw_path.partition("?")[2])
    for name in ("X-Amz-Credential", "AWSAccessKeyId"):
        if name in query:
            return query[name][0].partition("/")[0]
    return None


def _only(request: web.BaseRequest, header: str, absent: str = "") -> str:
    """The header's value, `absent` if it is not there. Given twice, the values together: equal to no good one."""
    values = request.headers.getall(header, [])
    return ", ".join(values) if values else absent


def _shown(text: str) -> str:
    """Somebody else's text, as one short line."""
    return ascii(text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "...")


def _unknown_key(request: web.BaseRequest) -> web.Response:
    """In the protocol of the service that was asked, with its own error code and status.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_general.html,
    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    """
    signed = SIGNED_SERVICE.search(request.headers.get("Authorization", ""))
    service = signed[1] if signed else None
    content_type = request.headers.get("Content-Type", "")
    path = request.raw_path
    if content_type.startswith("application/x-www-form-urlencoded"):
        return _xml("InvalidClientTokenId", "<ErrorResponse><Error><Type>Sender</Type>{}</Error></ErrorResponse>")
    if "X-Amz-Target" in request.headers:
        is_sqs = request.headers["X-Amz-Target"].startswith("AmazonSQS.")
        return (
            _json("InvalidClientTokenId", HTTPStatus.FORBIDDEN)
            if is_sqs
            else _json("UnrecognizedClientException", HTTPStatus.BAD_REQUEST)
        )
    if service == "s3" or (service is None and not LAMBDA_PATH.match(path)):
        return _xml("InvalidAccessKeyId", "<Error>{}</Error>")
    return _json("UnrecognizedClientException", HTTPStatus.FORBIDDEN)


def _json(code: str, status: HTTPStatus) -> web.Response:
    body = json.dumps({"__type": code, "message": SOURCE_ENVIRONMENT, "Message": SOURCE_ENVIRONMENT})
    headers = {"x-amzn-errortype": code}
    return web.Response(status=status, text=body, content_type="application/json", headers=headers)


def _xml(code: str, shape: str) -> web.Response:
    body = shape.format(f"<Code>{code}</Code><Message>{escape(SOURCE_ENVIRONMENT)}</Message>")
    return web.Response(status=HTTPStatus.FORBIDDEN, text=body, content_type="application/xml")
