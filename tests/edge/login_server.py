"""A camera's web server as the field has it: every login of RFC 7616 and 7617, redirects, odd types, TLS, lies.

Digest is computed here from the RFC's own words, independently of the library that the product uses.
"""

import base64
import hashlib
import re
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HASHES: dict[str, Callable[[bytes], "hashlib._Hash"]] = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}
REALM = "cam, one"  # not with quotes: requests does not escape them
NONCE = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
Reply = Callable[["Handler"], None]


class Server(ThreadingHTTPServer):
    """Answers each path by `replies`; those in `locked` only to who logs in.

    Args:
        offers: the WWW-Authenticate fields that are sent, as they are.
        user, password: that are right.
    """

    daemon_threads = True

    def __init__(self, user: str = "admin", password: str = "secret", offers: Sequence[str] = ()) -> None:
        self.user, self.password, self.offers = user, password, list(offers)
        self.replies: dict[str, Reply] = {}
        self.heard: list[str] = []  # the Authorization fields that came, "" where there was none
        self.stopped = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str, login: str = "", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{login}{host}:{self.server_address[1]}/{path}"

    def admits(self, field: str, method: str, target: str) -> bool:
        scheme, _, rest = field.partition(" ")
        if scheme.lower() == "basic" and any(offer.lower().startswith("basic") for offer in self.offers):
            return base64.b64decode(rest).decode() == f"{self.user}:{self.password}"
        return scheme.lower() == "digest" and self._digest(rest, method, target)

    def _digest(self, rest: str, method: str, target: str) -> bool:
        """RFC 7616, section 3.4."""
        said = {k.lower(): re.sub(r"\\(.)", r"\1", q) or p for k, q, p in _FIELD.findall(rest)}
        name = said.get("algorithm", "MD5").upper()
        if said["realm"] != REALM or said["nonce"] != NONCE or said["uri"] != target or said["username"] != self.user:
            return False
        digest = HASHES[name.removesuffix("-SESS")]

        def h(text: str) -> str:
            return digest(text.encode()).hexdigest()

        a1 = h(f"{self.user}:{REALM}:{self.password}")
        if name.endswith("-SESS"):
            a1 = h(f"{a1}:{NONCE}:{said['cnonce']}")
        middle = f":{said['nc']}:{said['cnonce']}:{said['qop']}" if "qop" in said else ""
        return said["response"] == h(f"{a1}:{NONCE}{middle}:{h(f'{method}:{target}')}")


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        field = self.headers.get("Authorization", "")
        self.server.heard.append(field)
        if self.server.offers and not self.server.admits(field, "GET", self.path):
            self.send_response(401, "password secret is wrong")  # some repeat it
            for offer in self.server.offers:
                self.send_header("WWW-Authenticate", offer)
            self.end_headers()
            return
        reply = self.server.replies.get(urllib.parse.urlsplit(self.path).path.lstrip("/"))
        try:
            if reply is None:
                self.give(404, "text/html", b"<html>")
            else:
                reply(self)
        except OSError:
            return

    def give(self, status: int, kind: str | None, body: bytes, length: bool = True, **fields: str) -> None:
        self.send_response(status)
        if kind is not None:
            self.send_header("Content-Type", kind)
        if length:
            self.send_header("Content-Length", str(len(body)))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def trickle(self, pieces: Iterator[bytes], kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)
            if self.server.stopped.wait(0.01):
                return

    def chunks(self, pieces: Sequence[bytes], kind: str) -> None:
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in [*pieces, b""]:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


_FIELD = re.compile(r'([\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')


def still(data: bytes, kind: str | None = "image/jpeg") -> Reply:
    return lambda handler: handler.give(200, kind, data)


def moved(to: str, status: int = 302) -> Reply:
    return lambda handler: handler.give(status, None, b"", Location=to)


@contextmanager
def serving(*offers: str, password: str = "secret", tls: tuple[str, str] | None = None) -> Iterator[Server]:
    server = Server(password=password, offers=offers)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
