"""Addresses of cameras and brokers. They are parsed strictly, and their secret parts are never shown.

The user, the password, the query and the fragment are secret, and so are the parts of a path that assign something
(`/user=admin&password=…`, which some recorders use). `Address.parse` refuses an address that two programs could read
differently, such as a password with an unescaped slash. `redacted` removes addresses from text before it is shown.

Source: RFC 3986, section 3.
"""

import re
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import quote, unquote

from edge.errors import SourceError

ESCAPES = (
    "in a user name or password, write / as %2F, # as %23, ? as %3F, @ as %40, : as %3A, % as %25, and a space as %20"
)
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(r"(\[[0-9a-f:.]+(?:%25[\w.~-]+)?\]|[^\[\]:\\%<>\"^`{|}]+)(?::(\d*))?", re.IGNORECASE)
_BAD = re.compile(r"[\x00-\x20\x7f\\]|%(?![0-9a-f]{2})", re.IGNORECASE)
_SCHEMES = r"(?:https?|rtsps?|rtmps?|mqtts?|wss?|ftps?|tcp|udp|srt|mms|frigate)"
_USERS = rf"\b({_SCHEMES}:/++)(?!user:password@)(?:(?!{_SCHEMES}:/){{one}})*@"  # as greedy as it can be
_QUERIES = rf"\b({_SCHEMES}:/+(?:(?![\s?#]){{one}})*)[?#](?:(?!\s){{one}})*"
_IN_TEXT = [re.compile(p.format(one="."), re.IGNORECASE | re.DOTALL) for p in (_USERS, _QUERIES)]
_IN_JSON = [re.compile(p.format(one=r'(?:[^"\\]|\\.)'), re.IGNORECASE) for p in (_USERS, _QUERIES)]


class Address(NamedTuple):
    """An address split into its parts; `str` leaves out the secret ones.

    >>> address = Address.parse("http://me:a%2Fb@[fe80::1]:8080/stream?token=x", {"http"})
    >>> str(address), address.password, address.bare
    ('[fe80::1]:8080/stream', 'a/b', 'http://[fe80::1]:8080/stream?token=x')
    """

    scheme: str  # lower case
    user: str | None  # decoded, as is the password
    password: str | None
    host: str  # without brackets
    port: int | None
    rest: str  # path, query and fragment, as they were given

    @classmethod
    def parse(cls, text: str, schemes: Collection[str]) -> "Address":
        """Split an address into its parts.

        Raises:
            SourceError: it is malformed or has another scheme; the message contains nothing of it except the scheme.
        """
        found = _ADDRESS.fullmatch(text)
        scheme = found[1].lower() if found else ""
        if found is None or scheme not in schemes:
            raise SourceError(
                "address-invalid", f"an address must begin with {' or '.join(f'{s}://' for s in sorted(schemes))}"
            )
        before, at, authority = found[2].rpartition("@")
        rest = found[3]
        if _BAD.search(text) or "@" in before or "@" in rest:
            raise SourceError(
                "address-invalid", f"this {scheme} address contains a character that must be escaped: {ESCAPES}"
            )
        place = _HOST.fullmatch(authority)
        if place is None:
            raise SourceError(
                "address-invalid",
                f"this {scheme} address is malformed after '//': write {scheme}://user:password@host:port/path, "
                f"with a number as the port and an IPv6 address in [brackets]; {ESCAPES}",
            )
        port = int(place[2][:6]) if place[2] else None
        if port is not None and not 0 < port < 65_536:
            raise SourceError("address-invalid", f"the port of this {scheme} address is not between 1 and 65535")
        user, colon, password = before.partition(":")
        return cls(
            scheme,
            unquote(user) if at else None,
            unquote(password) if colon else None,
            place[1].strip("[]"),
            port,
            rest,
        )

    @property
    def bare(self) -> str:
        """The address without user and password, as a client library takes it."""
        return f"{self.scheme}://{self._place}{self.rest}"

    @property
    def full(self) -> str:
        """The address with user and password, each escaped."""
        if self.user is None:
            return self.bare
        password = "" if self.password is None else ":" + quote(self.password, safe="")
        return f"{self.scheme}://{quote(self.user, safe='')}{password}@{self._place}{self.rest}"

    def __str__(self) -> str:
        path = re.split(r"[?#]", self.rest)[0]
        return self._place + "/".join(
            "…" if re.search("=|%3d", part, re.IGNORECASE) else part for part in path.split("/")
        )

    def __repr__(self) -> str:
        return f"<{self.scheme} {self}>"

    @property
    def _place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


def looks_like_one(text: str) -> bool:
    """Whether a text may contain an address, and must therefore not be printed.

    >>> [looks_like_one(text) for text in ("http:/me:x@host", "me:x@host", "rtsp:host?pwd=x", "/srv/a@b", "photos")]
    [True, True, True, False, False]
    """
    return re.search(rf"^\s*{_SCHEMES}:|:.*@|[?]|://", text, re.IGNORECASE | re.DOTALL) is not None


def redacted(text: str, json: bool = False) -> str:
    r"""Remove the secret parts of every address in a text; set `json` if the addresses are inside JSON strings.

    >>> redacted("cannot open rtsp://me:a/b@host/live?token=x and more")
    'cannot open rtsp://…@host/live?… and more'
    >>> redacted('{"a": "http://me:\\"b@host/", "c": 1}', json=True)
    '{"a": "http://…@host/", "c": 1}'
    """
    if ":/" in text:
        users, queries = _IN_JSON if json else _IN_TEXT
        text = queries.sub(r"\1?…", users.sub(r"\1…@", text))
    return text
