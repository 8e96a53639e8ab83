"""Who may use the console: only the browser that opened the printed address, and only from its own pages."""

import http.client

import pytest
from console_server import served
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from durable_local.console import Section

changes = []


async def page(request):
    if request.method == "POST":
        changes.append(await request.body())
    return PlainTextResponse("the page")


SECTION = Section("Page", "/page", [Route("/page", page, methods=["GET", "POST"])])


@pytest.fixture(scope="module")
def console():
    with served([SECTION]) as running:
        yield running


@pytest.fixture
def request_to(console):
    """Sends a request with the cookie, from the console's own page unless headers say otherwise."""
    changes.clear()

    def send(method="GET", path="/page", to=console, **headers):
        guard = to.guard
        given = {"Host": guard.host, "Cookie": f"{guard.cookie}=secret", **headers}
        connection = http.client.HTTPConnection(guard.host, timeout=10)
        connection.putrequest(method, path, skip_host=True)
        for name, value in given.items():
            if value is not None:
                connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(b"x" if method == "POST" else None, encode_chunked=False)
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        connection.close()
        return answer

    return send


def test_the_console_listens_only_on_the_loopback(console):
    assert console.guard.host.startswith("127.0.0.1:")


def test_a_request_with_the_cookie_gets_the_page(request_to):
    assert request_to().text == "the page"


@pytest.mark.parametrize("host", ["localhost:{}", "evil.example:{}", "127.0.0.1", "127.0.0.1:1", "[::1]:{}", "", None])
def test_another_host_is_refused(request_to, console, host):
    answer = request_to(Host=host and host.format(console.guard.host.rpartition(":")[2]))
    assert answer.status in {400, 421}  # 400: uvicorn refuses a request without a Host
    assert "the page" not in answer.text


def test_another_host_is_refused_for_static_files_too(request_to):
    assert request_to(path="/static/console.js", Host="evil.example").status == 421


@pytest.mark.parametrize("cookie", [None, "console-1=secret", "{}=wrong", "{}=", '{}="unclosed', "{}=secré"])
def test_without_the_token_nothing_is_shown(request_to, console, cookie):
    answer = request_to(Cookie=cookie and cookie.format(console.guard.cookie))
    assert answer.status == 401
    assert "the page" not in answer.text


def test_the_token_becomes_a_cookie_and_leaves_the_address(request_to, console):
    answer = request_to(path="/page?token=secret&filter=a%26b", Cookie=None)
    assert (answer.status, answer.headers["Location"]) == (303, "/page?filter=a%26b")
    cookie = answer.headers["Set-Cookie"].lower()
    assert cookie.startswith(f"console-{console.guard.host.rpartition(':')[2]}=secret;")
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_the_redirect_of_the_token_stays_on_this_host(request_to):
    answer = request_to(path="//evil.example/page?token=secret", Cookie=None)
    assert answer.headers["Location"] == "/evil.example/page"


def test_a_wrong_token_gets_no_cookie(request_to):
    answer = request_to(path="/page?token=wrong", Cookie=None)
    assert answer.status == 401
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "same-site", "Origin": "http://127.0.0.1:1"},
    ],
)
def test_a_change_from_another_origin_is_refused(request_to, headers):
    assert request_to("POST", Content_Length="1", **headers).status == 403
    assert not changes


def test_a_change_from_the_consoles_own_page_passes(request_to, console):
    assert request_to("POST", Content_Length="1", Sec_Fetch_Site="same-origin").status == 200
    assert request_to("POST", Content_Length="1", Origin=console.base).status == 200
    assert changes == [b"x", b"x"]


def test_another_site_loads_nothing_but_may_link_here(request_to):
    for site in ("cross-site", "same-site"):
        assert request_to(Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="image").status == 403
        assert request_to(Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe").status == 403
        assert request_to(Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document").status == 200


def test_every_answer_has_the_headers_that_protect_it(request_to):
    for answer in (request_to(), request_to(Cookie=None), request_to(path="/static/console.js")):
        policy = dict(rule.strip().split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_a_read_only_console_refuses_every_change(request_to):
    with served([SECTION], read_only=True) as console:
        assert request_to(to=console).status == 200
        assert request_to("POST", to=console, Content_Length="1", Sec_Fetch_Site="same-origin").status == 403
    assert not changes


def test_no_page_has_inline_script_or_style(console):
    from durable_local.console import app

    for template in [*app.HERE.rglob("*.html")]:
        text = template.read_text()
        assert "<style" not in text
        assert " style=" not in text
        assert "<script>" not in text
        assert "hx-on" not in text
        assert "|safe" not in text.replace(" ", "")
