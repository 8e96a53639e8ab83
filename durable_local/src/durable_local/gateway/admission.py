"""Refuses requests of web pages in the user's browser and of other users of this machine.

A browser says where a request comes from, and a page cannot change that: `Host` (also after DNS rebinding), `Origin`,
`Sec-Fetch-Site`. Every other caller must send an access key of the stack, which only its user can read. No signature
is verified: whoever can read a key on the loopback can read the whole request.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from aiohttp import web

from durable_local.faults.rules import CONTROL_PREFIX
from durable_local.keys import SECRET_HEADER
from durable_local.settings import HEALTH_PATH, HOST

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from durable_local.gateway.front_door import NextStep
    from durable_local.gateway.incoming import Incoming
    from durable_local.keys import Keys

logger = logging.getLogger(__name__)

# MiniStack's own paths (reset, configuration, messages), also under the names that LocalStack has for them.
MINISTACK_PATH = re.compile(r"/+_(?:ministack|localstack)(?:/|$)")
# Custom resources and wait conditions send their results here. AWS issues presigned URLs for that; here the random id
# in the path is the key.
CLOUDFORMATION_ANSWER_PATH = re.compile(r"/_ministack/cfn-(?:response|signal)/[^/]+")
# The invoke paths of API Gateway, which are public on AWS too, without its management of WebSocket connections.
PUBLIC_API_PATH = re.compile(
    r"/(?:_aws/execute-api/[^/]+/[^/]*|restapis/[^/]+/[^/]*/_user_request_)(?!/@connections/)(?:/.*)?", re.DOTALL
)
# The methods that AWS's APIs use. A CONNECT request would be executed with a path that is not checked here.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
# The format of an access key id (IAM, AccessKey.AccessKeyId).
ACCESS_KEY_ID = re.compile(r"[A-Za-z0-9_]{16,128}")
KEY_IN_AUTHORIZATION = re.compile(r"(?:AWS4-\S+ .*?Credential=([^/,\s]+)/|AWS ([^:\s]+):)")
SIGNED_SERVICE = re.compile(r"Credential=[^/]+/[^/]+/[^/]+/([^/]+)/")
LAMBDA_PATH = re.compile(r"/20\d\d-\d\d-\d\d/")
MAX_SHOWN_CHARACTERS = 100

SOURCE_ENVIRONMENT = (
    "The request names no access key of this local stack. "
    "Run `source .local/env` (in a plain sh: `. .local/env`) in this shell and try again."
)


class Admission:
    """The first step: refuses a request or gives it to the next step."""

    def __init__(self, port: int, keys: Keys, is_issued: Callable[[str], Awaitable[bool]]) -> None:
        """`is_issued`: whether the stack's own STS or IAM issued an access key that is valid now."""
        self._hosts = {f"{HOST}:{port}", f"localhost:{port}"}
        self._keys = keys
        self._is_issued = is_issued

    async def handle(self, request: Incoming, next_step: NextStep) -> web.StreamResponse:
        """The next step's answer, or a refusal."""
        reason = self._foreign(request)
        if reason is not None:
            _log_refusal(reason, request)
            return web.Response(status=HTTPStatus.FORBIDDEN, text=f"The local stack refused this request: {reason}.\n")
        if not await self._names_a_key(request):
            # The log has one line for people. The client gets the error of the service that it called.
            _log_refusal("no access key of this stack", request)
            return _unknown_key(request)
        return await next_step(request)

    def _foreign(self, request: Incoming) -> str | None:
        """Why the request may come from a web page; None if it cannot."""
        host = _only(request, "Host")
        own_origin = f"http://{host}"
        origin = _only(request, "Origin", absent=own_origin)
        site = _only(request, "Sec-Fetch-Site", absent="none")
        reason = None
        if host not in self._hosts:
            reason = f"Host is {_shown(host)}, not {' or '.join(sorted(self._hosts))}"
        elif origin != own_origin:
            reason = f"Origin is {_shown(origin)}, another site"
        elif site not in {"same-origin", "none"}:
            reason = f"Sec-Fetch-Site is {_shown(site)}"
        elif request.method == "OPTIONS":
            reason = "CORS preflights are not answered"
        elif request.method not in METHODS:
            reason = f"the method is {_shown(request.method)}"
        elif not request.path.startswith("/") or "#" in request.http.raw_path:
            reason = "the request target is not a path"
        # The path that is checked must be the path that is executed.
        elif MINISTACK_PATH.match(request.decoded_path) and not _answers_cloudformation(request):
            reason = "MiniStack's own paths are closed"
        return reason

    async def _names_a_key(self, request: Incoming) -> bool:
        if request.path.startswith(CONTROL_PREFIX):
            given = request.headers.get(SECRET_HEADER, "").encode(errors="surrogateescape")
            return hmac.compare_digest(given, self._keys.internal.encode())
        if (max_bytes := _max_body_bytes_without_key(request)) is not None:
            request.max_body_bytes = max_bytes
            return True
        key = _named_key(request)
        if key is None or not ACCESS_KEY_ID.fullmatch(key):
            return False
        own = self._keys.credentials.access_key_id
        return hmac.compare_digest(key.encode(), own.encode()) or await self._is_issued(key)


def _log_refusal(reason: str, request: Incoming) -> None:
    logger.warning("refused: %s (%s %s)", reason, request.method, _shown(request.http.raw_path))


def _max_body_bytes_without_key(request: Incoming) -> int | None:
    """For a request that needs no key, the size in bytes that its body may have; None for one that needs a key."""
    if request.method == "GET" and request.http.raw_path == HEALTH_PATH:
        return 0
    if _answers_cloudformation(request):
        return 4096  # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
    if PUBLIC_API_PATH.fullmatch(request.decoded_path):
        return 10 * 1024 * 1024  # https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
    return None


def _answers_cloudformation(request: Incoming) -> bool:
    return request.method == "PUT" and bool(CLOUDFORMATION_ANSWER_PATH.fullmatch(request.decoded_path))


def _named_key(request: Incoming) -> str | None:
    """The access key id of the request: from its header, else from the query of a presigned URL."""
    if found := KEY_IN_AUTHORIZATION.match(request.headers.get("Authorization", "")):
        return found[1] or found[2]
    query = parse_qs(request.query)
    for name in ("X-Amz-Credential", "AWSAccessKeyId"):
        if name in query:
            return query[name][0].partition("/")[0]
    return None


def _only(request: Incoming, header: str, absent: str = "") -> str:
    """The header's value, or `absent`. Of a header that is sent twice, both values: no check accepts them."""
    values = request.headers.getall(header, [])
    return ", ".join(values) if values else absent


def _shown(text: str) -> str:
    """Text of the caller as one short line."""
    return ascii(text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "...")


def _unknown_key(request: Incoming) -> web.Response:
    """The refusal in the protocol of the called service, with its error code and status.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_general.html,
    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    """
    signed = SIGNED_SERVICE.search(request.headers.get("Authorization", ""))
    service = signed[1] if signed else None
    content_type = request.headers.get("Content-Type", "")
    if content_type.startswith("application/x-www-form-urlencoded"):
        return _xml("InvalidClientTokenId", "<ErrorResponse><Error><Type>Sender</Type>{}</Error></ErrorResponse>")
    if "X-Amz-Target" in request.headers:
        is_sqs = request.headers["X-Amz-Target"].startswith("AmazonSQS.")
        return (
            _json("InvalidClientTokenId", HTTPStatus.FORBIDDEN)
            if is_sqs
            else _json("UnrecognizedClientException", HTTPStatus.BAD_REQUEST)
        )
    if service == "s3" or (service is None and not LAMBDA_PATH.match(request.path)):
        return _xml("InvalidAccessKeyId", "<Error>{}</Error>")
    return _json("UnrecognizedClientException", HTTPStatus.FORBIDDEN)


def _json(code: str, status: HTTPStatus) -> web.Response:
    body = json.dumps({"__type": code, "message": SOURCE_ENVIRONMENT, "Message": SOURCE_ENVIRONMENT})
    headers = {"x-amzn-errortype": code}
    return web.Response(status=status, text=body, content_type="application/json", headers=headers)


def _xml(code: str, shape: str) -> web.Response:
    body = shape.format(f"<Code>{code}</Code><Message>{escape(SOURCE_ENVIRONMENT)}</Message>")
    return web.Response(status=HTTPStatus.FORBIDDEN, text=body, content_type="application/xml")
