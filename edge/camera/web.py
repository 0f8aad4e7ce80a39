"""Pictures from an http address: motion JPEG, or one picture requested again and again, with or without a login.

The kind of an answer is recognised by its bytes, as cameras label JPEG as application/octet-stream, as text, or not at
all. Errors that can never go away (a wrong password, path or certificate) are distinguished from those that may (no
answer, "busy"). The connections are made by `client`.

Source: RFC 9110 (status codes, redirects); RFC 2046, section 5.1 (multipart).
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from edge.camera import client, mjpeg
from edge.camera.address import Address
from edge.camera.client import TIMEOUT
from edge.errors import SourceError, SourceRefused
from edge.picture.kinds import kind as kind_of

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

REDIRECTS = 5
_SNIFF = 4096  # bytes by which an answer is known
_TEXT = re.compile(rb"[\s\x20-\x7e]*")


def pictures(
    address: Address, every: float, self_signed: bool, other: Callable[[str], Iterator[bytes]]
) -> Iterator[bytes]:
    """Yield the pictures of an address until it ends or fails.

    Args:
        address: the address; user and password are sent only to its host, and only if it asks for them.
        every: seconds between two requests, if the address gives one picture.
        other: reads video that is not motion JPEG, given the full address.

    Raises:
        SourceRefused: this address can never work.
        SourceError: the camera does not answer, or the stream breaks off; or requests is missing.
    """
    with client.plainly():
        with client.session(address, self_signed) as session:
            if address.user is not None:
                from edge.camera.login import Login

                session.auth = Login(address.user, address.password or "")
            while True:
                with contextlib.closing(_ask(session, address)) as answer:
                    found = _Answer(answer)
                    if found.is_film:
                        break
                    yield from found.pictures()
                    if found.is_stream:
                        return
                time.sleep(every)
        yield from other(address.full)


class _Answer:
    """The answer of an address: a stream of pictures, one picture, or a video for OpenCV.

    Raises:
        SourceRefused: the answer is something else.
    """

    def __init__(self, answer: "Response") -> None:
        self._answer = answer
        self._end = time.monotonic() + TIMEOUT
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        self._first = b""
        multipart = kind.startswith("multipart/")
        while not multipart and len(self._first) < _SNIFF and (data := self._read_in_time()):
            self._first += data
        bounded = answer.headers.get("Content-Length", "").isdecimal()
        before, jpeg, _ = self._first.partition(mjpeg.START)
        self.is_stream = multipart or (bool(jpeg) and _TEXT.fullmatch(before) is not None and not bounded)
        self.is_film = False
        found = kind_of(self._first)
        if self.is_stream or found.is_picture:
            return
        if not self._first and not kind.startswith("text/"):
            raise SourceError("stream-failed", "its answer is empty")
        if kind.startswith("image/"):
            raise SourceRefused(
                "stream-not-pictures",
                f"it answered with {kind}, which cannot be read here; set the camera to JPEG",
            )
        if kind.startswith("text/") or "json" in kind or _TEXT.fullmatch(self._first[:512]):
            raise SourceRefused(
                "stream-not-pictures",
                f"it answered with {kind or 'text'}, which is not a picture; give the address of its stream "
                "or snapshot",
            )
        self.is_film = True

    def pictures(self) -> Iterator[bytes]:
        """Yield the pictures of a stream, or the single one."""
        if self.is_stream:
            count = 0
            for picture in mjpeg.split(self._read, TIMEOUT, self._boundary()):
                yield picture
                count += 1
            self.is_stream = count != 1  # else a single JPEG of untold length
            return
        data = bytearray(self._first)
        while more := self._read_in_time():
            data += more
            if len(data) > mjpeg.MAX_BYTES:
                raise SourceRefused(
                    "stream-not-pictures",
                    f"its picture has more than {mjpeg.MAX_BYTES / 1e6:.0f} MB; set the camera to a smaller size",
                )
        yield bytes(data)

    def _boundary(self) -> str:
        from email.message import Message

        header = Message()
        header["Content-Type"] = self._answer.headers.get("Content-Type", "")
        boundary = header.get_param("boundary", "")
        return boundary if isinstance(boundary, str) else ""

    def _read(self, size: int) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        return self._answer.raw.read1(size, decode_content=True) or b""

    def _read_in_time(self) -> bytes:
        if time.monotonic() > self._end:
            raise SourceError("stream-failed", f"no complete picture within {TIMEOUT:.0f} s")
        return self._answer.raw.read1(mjpeg.CHUNK, decode_content=True) or b""


def _ask(session: "Session", address: Address) -> "Response":
    """Send the request and follow redirects; user and password go only to the address's own host."""
    url = address.bare
    for _ in range(REDIRECTS + 1):
        own = not session.should_strip_auth(address.bare, url)
        answer = session.get(
            url, stream=True, timeout=TIMEOUT, allow_redirects=False, auth=session.auth if own else _nobody
        )
        if not answer.is_redirect:
            _check(answer, address, own)
            return answer
        answer.close()
        url = urljoin(url, answer.headers["Location"])
        if urlsplit(url).scheme not in ("http", "https"):
            break
        url = urlsplit(url)._replace(netloc=urlsplit(url).netloc.rpartition("@")[2]).geturl()
    raise SourceRefused(
        "address-refused",
        "it redirects in a circle, or to something that is not http; give the address of the stream itself",
    )


def _nobody(request: "PreparedRequest") -> "PreparedRequest":
    """Do not log in, not even with the user and password in the address."""
    return request


def _check(answer: "Response", address: Address, own: bool) -> None:
    """Raise an error if the status is not success."""
    status = answer.status_code
    if status < 400:
        return
    answer.close()
    known = client.answered(status)
    if status == 401:
        raise SourceRefused("login-refused", f"{known}: {_why_no_login(answer, address, own)}")
    if client.passes(status):
        raise SourceError("stream-failed", known)
    advice = {403: "this user has no permission", 404: "check the path in the address", 410: "check the path"}
    raise SourceRefused("address-refused", f"{known}: {advice.get(status, 'check the address')}")


def _why_no_login(answer: "Response", address: Address, own: bool) -> str:
    from edge.camera.login import challenges, choose, offers

    offered = list(challenges(offers(answer)))
    if choose(offered) is None and offered:
        names = ", ".join(sorted({challenge.name for challenge in offered}))
        return f"it asks for the login {names}, which is not supported"
    if not own:
        return "it redirects to another host, to which no password is sent"
    if address.user is None:
        return f"write {address.scheme}://user:password@ before the host"
    return "the user name or password is wrong; if one contains / # ? @ : or %, escape it"
