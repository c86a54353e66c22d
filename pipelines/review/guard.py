"""Who may ask the server of the review for something: its token, its host and its origin."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import TypeAlias

from schemas.errors import CardError

Headers: TypeAlias = "Mapping[str, str] | Message"
"""The headers of a request. `http.server` looks them up whatever their case."""

TOKEN_BYTES = 32

LARGEST_BODY = 16 << 10
"""The largest number of bytes in the body of a request."""

LONGEST_TARGET = 4 << 10
"""The largest number of bytes in the path and query of a request."""

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""The headers of every reply: no script but the page's own, no frame, nothing is kept."""


def is_loopback(host: str) -> bool:
    """Return whether a name or an address is this machine's loopback."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_host(host: str) -> str:
    """Return an address to listen on.

    Raises: CardError: it is no address, or stands for all of them, so no host could be checked.
    """
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        address = None
    if address is None or address.is_unspecified:
        raise CardError(
            f"{host[:80]!r} isn't one address of this machine",
            where="--host",
            remedy="name the address under which you will open the page, such as 192.168.1.20",
        )
    return str(address)


@dataclass(frozen=True)
class Guard:
    """Decides about requests. `hosts` are the values of `Host` under which the server answers."""

    hosts: tuple[str, ...]
    token: str = field(default_factory=lambda: secrets.token_urlsafe(TOKEN_BYTES))

    @property
    def cookie(self) -> str:
        """Return the name of the cookie, which differs by port: cookies don't."""
        return f"congener-{self.hosts[0].rpartition(':')[2]}"

    def is_token(self, given: str) -> bool:
        """Compare a text with the token in constant time."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())

    def write_cookie(self) -> str:
        """Return the header that gives a browser the token; scripts can't read it."""
        return f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"

    def find_fault(self, method: str, target: str, headers: Headers) -> HTTPStatus | None:
        """Return why a request is refused before its token is looked at, or None.

        A page of another site reaches the server under that site's name (DNS rebinding), so the
        name must be one of `hosts`. A change must come from the page itself.
        """
        if len(target) > LONGEST_TARGET:
            return HTTPStatus.REQUEST_URI_TOO_LONG
        if headers.get("Host") not in self.hosts:
            return HTTPStatus.MISDIRECTED_REQUEST
        origins = (None, *(f"http://{host}" for host in self.hosts))
        wanted = origins if method == "GET" else origins[1:]
        is_own = headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")
        if headers.get("Origin") not in wanted or (method != "GET" and not is_own):
            return HTTPStatus.FORBIDDEN
        return None

    def has_cookie(self, headers: Headers) -> bool:
        """Return whether a request carries the token in its cookie."""
        try:
            cookies = SimpleCookie(headers.get("Cookie", ""))
        except CookieError:
            return False
        return self.cookie in cookies and self.is_token(cookies[self.cookie].value)
