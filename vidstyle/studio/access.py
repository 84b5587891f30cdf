"""Access to the server: a token, the Host and Origin headers, and the page's policy.

A web site that the user visits can send requests to a server on the same machine. It cannot read
the token, its requests name a foreign Origin, and a domain name that it points at this machine (DNS
rebinding) appears as Host.
"""

import ipaddress
import secrets
import socket
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Access", "is_loopback"]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


class Access:
    """ASGI middleware that refuses every request without the token, or from another site.

    token: text that the first URL carries (?token=…); afterwards a cookie. host: the address that
    the server listens on.
    """

    def __init__(self, app: ASGIApp, *, token: str, host: str, port: int) -> None:
        self._app, self._token, self._host, self._port = app, token, host, port
        self.cookie = f"vidstyle_studio_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        by_link = scope["method"] == "GET" and scope["path"] == "/" and self._same(given)
        if why := self._refusal(headers, scope["method"], by_link):
            await JSONResponse({"error": why}, 403)(scope, receive, send)
            return
        await self._app(scope, receive, self._with_headers(send, by_link))

    def _refusal(self, headers: Headers, method: str, by_link: bool) -> str:
        """Return why a request is refused, "" if it is not."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_known(host):
            return (
                f"expected the studio's own address, got Host {host[:80]!r}; open the printed URL"
            )
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return f"expected a request of the studio's page, got one of {origin[:80]!r}"
        if origin is None and method not in ("GET", "HEAD"):
            return "expected a request of the studio's page, got one without an Origin"
        site = headers.get("sec-fetch-site", "none")
        if site not in ("same-origin", "none") and not by_link:
            return f"expected a request of the studio's page, got a {site[:20]} one"
        if not (by_link or self._same(_cookie(headers.get("cookie", ""), self.cookie))):
            return "expected the token of this studio, got none or another; open the printed URL"
        return ""

    def _same(self, token: str) -> bool:
        return secrets.compare_digest(token.encode(), self._token.encode())

    def _is_known(self, host: str) -> bool:
        """Tell whether a Host header names this machine, not a domain name from elsewhere."""
        try:
            parts = urlsplit(f"//{host}")
            name, port = (parts.hostname or "").lower(), parts.port or 80
        except ValueError:
            return False
        if port != self._port:
            return False
        if name in ("localhost", self._host.lower()) or (is_address(name) and is_loopback(name)):
            return True
        return not is_loopback(self._host) and (
            is_address(name) or name == socket.gethostname().lower()
        )

    def _with_headers(self, send: Send, by_link: bool) -> Send:
        """Return `send` with the headers of every answer, and the cookie of the first one."""

        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", POLICY)
                headers.setdefault("Cache-Control", "no-store")
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
                if by_link:
                    cookie = f"{self.cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/"
                    headers.append("Set-Cookie", cookie)
            await send(message)

        return wrapped


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


def is_address(name: str) -> bool:
    """Tell whether a host is an IP address, not a name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Tell whether a host can be reached from this machine only."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)
