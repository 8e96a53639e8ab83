"""Refuses every request that is not from the console's own pages in the browser of the person who started it.

Other users of the machine and every web page that the person opens can send requests to 127.0.0.1. The rules:

- The Host is exactly 127.0.0.1 and the port: a page whose host name was rebound to this machine has another one.
- The cookie has the token that only the printed address had.
- A request that changes something is from this console's own pages, by `Sec-Fetch-Site` or `Origin`.
- A page of another site may lead to a page here, and load nothing from it.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC = "/static/"
READS = {"GET", "HEAD"}
# Pico's icons are data: images in its stylesheet.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Guard:
    """`host`: what the Host header must be, such as 127.0.0.1:8080. `token`: secret. `read_only`: only reads pass."""

    host: str
    token: str
    read_only: bool = False

    @property
    def address(self) -> str:
        """The address to print; only who has it can open the console."""
        return f"http://{self.host}/?token={self.token}"

    @property
    def cookie(self) -> str:
        """The cookie's name. A browser sends the cookies of 127.0.0.1 to all of its ports."""
        return f"console-{self.host.rpartition(':')[2]}"

    def answer(self, request: Request) -> Response | None:
        """The answer to a request that does not pass; None for one that passes."""
        if (refused := self._stranger(request)) or request.url.path.startswith(STATIC):
            return refused
        is_read = request.method in READS
        if is_read and self._is_token(request.query_params.get("token", "")):
            return self._with_cookie(request)
        if not self._is_token(_cookie(request.headers, self.cookie)):
            return _refused(HTTPStatus.UNAUTHORIZED, OPEN_THE_ADDRESS, "Open the printed address")
        if self.read_only and not is_read:
            return _refused(HTTPStatus.FORBIDDEN, "This console was started with --read-only.")
        return None

    def _stranger(self, request: Request) -> Response | None:
        """The refusal of a request for another host or from another site."""
        headers = request.headers
        if headers.get("host") != self.host:
            return _refused(HTTPStatus.MISDIRECTED_REQUEST, f"This console is at http://{self.host}/ only.")
        if request.method in READS:
            if not _reads_from_here(headers):
                return _refused(HTTPStatus.FORBIDDEN, "Another site may not load this.")
        elif headers.get("sec-fetch-site") != "same-origin" and headers.get("origin") != f"http://{self.host}":
            return _refused(HTTPStatus.FORBIDDEN, "This request is not from a page of this console.")
        return None

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())

    def _with_cookie(self, request: Request) -> Response:
        """The same address without the token, which would otherwise stay in the history and in screenshots."""
        left = [(name, value) for name, value in parse_qsl(request.url.query) if name != "token"]
        # A path that begins with two slashes would lead to another host.
        path = "/" + request.url.path.lstrip("/")
        response = RedirectResponse(f"{path}?{urlencode(left)}" if left else path, HTTPStatus.SEE_OTHER)
        response.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
        return response


OPEN_THE_ADDRESS = (
    "The console accepts only the browser that opened the address that it printed when it started. Each start prints "
    "a new one. Look into the terminal where it runs."
)


class GuardMiddleware:
    """Lets only the requests pass that `guard` has no answer to, and adds HEADERS to all responses."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":

            async def send_with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    headers = MutableHeaders(scope=message)
                    headers.update(HEADERS)
                    is_static = scope["path"].startswith(STATIC)
                    headers.setdefault("Cache-Control", "no-cache" if is_static else "no-store")
                await send(message)

            app = self._guard.answer(Request(scope)) or self._app
            await app(scope, receive, send_with_headers)


def _reads_from_here(headers: Mapping[str, str]) -> bool:
    return headers.get("sec-fetch-site", "none") in {"same-origin", "none"} or (
        headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    )


def _cookie(headers: Mapping[str, str], name: str) -> str:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[name].value if name in cookies else ""


REFUSED = """\
<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<link rel="stylesheet" href="/static/vendor/pico.min.css"><link rel="stylesheet" href="/static/console.css"></head>
<body><main class="container refused"><h1>{title}</h1><p>{text}</p><p><a href="/">Try again</a></p></main></body></html>
"""


def _refused(status: HTTPStatus, text: str, title: str = "Refused") -> Response:
    return Response(REFUSED.format(title=title, text=text), status, media_type="text/html")
