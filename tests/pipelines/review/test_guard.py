"""The guard of the review's server: tokens, hosts, origins and addresses to listen on."""

from http import HTTPStatus

import pytest

from pipelines.review.guard import HEADERS, LONGEST_TARGET, Guard, is_loopback, require_host
from schemas.errors import CardError

HOST = "127.0.0.1:8000"
OWN = {"Host": HOST, "Origin": f"http://{HOST}"}


@pytest.fixture
def guard():
    """Return a guard for one port of this machine."""
    return Guard((HOST, "localhost:8000"))


def test_tokens_are_random_and_long(guard):
    """Two guards have different tokens of at least 32 random bytes."""
    assert guard.token != Guard((HOST,)).token
    assert len(guard.token) >= 43


@pytest.mark.parametrize("given", ["", "x", "é", "\ud800", "x" * 10_000])
def test_only_the_token_is_the_token(guard, given):
    """Nothing else is taken for the token, whatever its characters."""
    assert not guard.is_token(given)
    assert guard.is_token(guard.token)
    assert not guard.is_token(guard.token[:-1])


def test_a_page_may_read_and_change(guard):
    """Requests under one of the server's names are welcome, changes only from its own page."""
    assert guard.find_fault("GET", "/", {"Host": HOST}) is None
    assert guard.find_fault("GET", "/", {"Host": "localhost:8000"}) is None
    assert guard.find_fault("POST", "/api/label", OWN) is None
    own = {"Host": "localhost:8000", "Origin": "http://localhost:8000"}
    assert guard.find_fault("POST", "/api/label", {**own, "Sec-Fetch-Site": "same-origin"}) is None


@pytest.mark.parametrize(
    "host", [None, "", "evil.example", "evil.example:8000", "127.0.0.1", "127.0.0.1:8001", "[::1]"]
)
def test_another_host_is_refused(guard, host):
    """A name that another site has pointed here isn't one of the server's (DNS rebinding)."""
    headers = {**OWN, "Host": host}
    assert guard.find_fault("GET", "/", headers) is HTTPStatus.MISDIRECTED_REQUEST
    assert guard.find_fault("POST", "/", headers) is HTTPStatus.MISDIRECTED_REQUEST


@pytest.mark.parametrize(
    "origin", ["null", "http://evil.example", f"https://{HOST}", "http://127.0.0.1:8001", ""]
)
def test_another_origin_is_refused(guard, origin):
    """A request of another site's page is refused, and a change needs an origin."""
    assert guard.find_fault("GET", "/", {**OWN, "Origin": origin}) is HTTPStatus.FORBIDDEN
    assert guard.find_fault("POST", "/", {**OWN, "Origin": origin}) is HTTPStatus.FORBIDDEN
    assert guard.find_fault("POST", "/", {"Host": HOST}) is HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("site", ["cross-site", "same-site", "x"])
def test_a_browser_that_says_cross_site_is_believed(guard, site):
    """A change that a browser marks as another site's is refused."""
    headers = {**OWN, "Sec-Fetch-Site": site}
    assert guard.find_fault("POST", "/", headers) is HTTPStatus.FORBIDDEN
    assert guard.find_fault("GET", "/", headers) is None, "a link from a chat opens the page"


def test_long_addresses_are_refused(guard):
    """A target longer than any that the page sends is refused."""
    target = "/" + "x" * LONGEST_TARGET
    assert guard.find_fault("GET", target, OWN) is HTTPStatus.REQUEST_URI_TOO_LONG


def test_the_cookie_carries_the_token(guard):
    """The cookie has the port in its name, and no script or other site can use it."""
    header = guard.write_cookie()
    assert header.startswith(f"congener-8000={guard.token};")
    assert "HttpOnly" in header
    assert "SameSite=Strict" in header
    assert guard.has_cookie({"Cookie": f"other=1; congener-8000={guard.token}"})


@pytest.mark.parametrize(
    "cookie", ["", "congener-8000", "congener-8000=", "congener-8001=TOKEN", "a=TOKEN", "\x00=;;="]
)
def test_other_cookies_are_no_token(guard, cookie):
    """A missing, an empty, another or a damaged cookie lets nobody in."""
    assert not guard.has_cookie({"Cookie": cookie.replace("TOKEN", guard.token)})
    assert not guard.has_cookie({})


def test_the_policy_allows_no_inline_script():
    """Only the page's own files are loaded, and nothing may frame the page."""
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_loopback_is_known(host):
    """Addresses of loopback, and its name."""
    assert is_loopback(host)
    assert not is_loopback("192.168.1.20")
    assert not is_loopback("example.org")


def test_one_address_is_needed():
    """Names, and addresses that stand for all, are refused; the name of loopback is known."""
    assert require_host("localhost") == "127.0.0.1"
    assert require_host("::1") == "::1"
    for host in ("0.0.0.0", "::", "example.org", "", "\0", "127.0.0.1:80"):
        with pytest.raises(CardError, match="--host"):
            require_host(host)
