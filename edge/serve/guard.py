"""Access control: every request is checked here first.

| check | refused with | protects against |
|---|---|---|
| the client is the configured proxy, if there is one | 403 | clients that bypass the proxy |
| the Host header names this machine | 421 | a foreign site whose name resolves to this machine (DNS rebinding) |
| the Origin of a write is one of our own pages | 403 | a foreign page that posts here (CSRF) |
| the Content-Type of a write is JSON or a picture | 415 | a plain form on a foreign page |
| the cookie is valid, if a password is set | 401, or the login page | everybody else |

Every response has a Content-Security-Policy that allows our own files only: no inline scripts or styles, no framing by
another site, nothing from other servers.
"""

import ipaddress
import socket
import time
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.errors import HomeError
from edge.serve.password import Stored

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
_HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # "no-referrer" would make a form's Origin "null"
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
OPEN = ("/login", "/static/", "/healthz")  # paths that need no cookie
PAGES = ("/", "/teach", "/review", "/learn")
WRITES = ("POST", "PUT", "PATCH", "DELETE")


class Guard:
    """ASGI middleware that passes permitted requests on and refuses the others.

    Args:
        hosts: host names that a proxy uses for this server, in addition to the machine's own.
        needs_password: whether to refuse everybody until a password is set.
        only_from: the address of a proxy that authenticates its users, such as Home Assistant's ingress. Only it may
            connect; its requests need no password and may have any Host header.
    """

    def __init__(
        self,
        app: ASGIApp,
        stored: Stored,
        hosts: Collection[str] = (),
        needs_password: bool = False,
        only_from: str | None = None,
    ) -> None:
        self._app, self._stored, self._needs, self._only_from = app, stored, needs_password, only_from
        self._named = frozenset(host.lower() for host in hosts)
        own = socket.gethostname().lower()
        self._hosts = self._named | {"localhost", own, own.partition(".")[0], local_name()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)
        secured = _securing(send)
        if refusal is not None:
            await refusal(scope, receive, secured)
        else:
            await self._app(scope, receive, secured)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path = Headers(scope=scope), scope["path"]
        host = headers.get("host", "")
        if self._only_from is not None and not self._may_connect(scope):
            return _error(403, f"only {self._only_from} may connect, as edge serve was started with --only-from")
        if len(headers.getlist("host")) != 1 or not (self._only_from is not None or self._ours(host)):
            return _error(
                421, "this address does not belong to this device; start edge serve with --host NAME to allow it"
            )
        if scope["method"] in WRITES:
            if not self._same_origin(headers, host):
                return _error(403, "this change does not come from a page of this device; reload the page")
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json" and not kind.startswith("image/"):
                return _error(415, "send JSON or a picture")
        if self._only_from is not None:
            return None
        if any(path == one or (one.endswith("/") and path.startswith(one)) for one in OPEN):
            return None
        try:
            password = self._stored.get()
        except HomeError as error:
            return _error(503, str(error))
        if password is None:
            return _error(503, "no password is set; on the device run: edge password") if self._needs else None
        given = cookie_parser(headers.get("cookie", "")).get(password.cookie_name, "")
        if password.valid(given, time.time()):
            return None
        if path in PAGES and scope["method"] in ("GET", "HEAD"):
            return RedirectResponse("login", 303)
        return _error(401, "log in first")

    def _may_connect(self, scope: Scope) -> bool:
        """Whether the client may connect: the proxy may, and this machine may request the health check."""
        address = (scope.get("client") or ("",))[0]
        return address == self._only_from or (scope["path"] == "/healthz" and address in ("127.0.0.1", "::1"))

    def _ours(self, host: str) -> bool:
        """Whether a Host header names this machine: a known name, or an IP address (never DNS rebinding)."""
        name = _name(host)
        if name is None:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.removesuffix(".") in self._hosts
        return True

    def _same_origin(self, headers: Headers, host: str) -> bool:
        origins = headers.getlist("origin")
        if len(origins) != 1:
            return False
        parts = urlsplit(origins[0])
        if parts.scheme not in ("http", "https"):
            return False
        return parts.netloc.lower() == host.lower() or _name(parts.netloc) in self._named


def local_name() -> str:
    """Return this machine's name as phones find it in the local network (mDNS), such as `raspberrypi.local`."""
    return f"{socket.gethostname().lower().partition('.')[0]}.local"


def _name(netloc: str) -> str | None:
    """Return the host of `host:port` in lower case; None if it is malformed."""
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port
        return parts.hostname if not (parts.path or parts.query or parts.fragment or parts.username) else None
    except ValueError:
        return None


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)


def _securing(send: Send) -> Send:
    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return secured


def listens_beyond_loopback(addresses: Iterable[str]) -> bool:
    """Whether one of these addresses can be reached from another machine.

    >>> listens_beyond_loopback(["127.0.0.1"]), listens_beyond_loopback(["::"])
    (False, True)
    """
    return any(not ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in addresses)
