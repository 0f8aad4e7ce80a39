"""Choose one of the logins that a camera offers. requests computes it, but does not understand how cameras offer them.

Cameras list several challenges in one header or in several, Basic before Digest, and lists like `qop="auth-int, auth"`.
The strongest Digest that requests can compute is chosen, else Basic, and requests sees only that one.

Source: RFC 9110, section 11.6.1 (the header); RFC 7616 (Digest); RFC 7617 (Basic).
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from requests import PreparedRequest, Response
from requests.auth import HTTPBasicAuth, HTTPDigestAuth

_ALGORITHMS = ("SHA-256", "MD5-SESS", "MD5")  # the strongest first
_ITEM = re.compile(r'[\s,]*([\w!#$%&*+.^`|~-]+)(\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]*)))?')


class Challenge(NamedTuple):
    """One login that a camera offers; the scheme and the names of its fields are in lower case."""

    scheme: str
    fields: dict[str, str]

    @property
    def name(self) -> str:
        """The name of the login, as people can look it up."""
        algorithm = self.fields.get("algorithm", "MD5") if self.scheme == "digest" else ""
        return f"{self.scheme.capitalize()} {algorithm}".strip()


class Login:
    """Lets requests log in as a user, by the best login that is offered.

    Args:
        user, password: as they are, not escaped.
    """

    def __init__(self, user: str, password: str) -> None:
        self._digest = HTTPDigestAuth(user, password)
        self._basic = HTTPBasicAuth(user.encode(), password.encode())

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Prepare a request, as requests calls it."""
        request.register_hook("response", self._choose)  # before that of the digest
        return self._digest(request)

    def _choose(self, answer: Response, **options: Any) -> Response:
        if answer.status_code != 401:
            return answer
        taken = choose(challenges(offers(answer)))
        answer.headers["WWW-Authenticate"] = ""
        if taken is not None and taken.scheme == "digest":
            fields = {**taken.fields, **({"qop": "auth"} if taken.fields.get("qop") else {})}
            answer.headers["WWW-Authenticate"] = "Digest " + ", ".join(f"{k}={_quoted(v)}" for k, v in fields.items())
        elif taken is not None and "Authorization" not in answer.request.headers:
            answer.close()
            again: Response = answer.connection.send(self._basic(answer.request.copy()), **options)
            again.history.append(answer)
            return again
        return answer


def offers(answer: Response) -> list[str]:
    """Return the header fields in which an answer offers logins; requests joins them into one."""
    return list(answer.raw.headers.getlist("WWW-Authenticate"))


def challenges(headers: Iterable[str]) -> Iterator[Challenge]:
    """Parse the logins that header fields offer, in order.

    >>> header = 'Basic realm="a, b", Digest realm="c", qop="auth-int, auth", algorithm=md5'
    >>> [challenge.name for challenge in challenges([header, "NTLM"])]
    ['Basic', 'Digest md5', 'Ntlm']
    """
    found: list[Challenge] = []
    for header in headers:
        for name, is_field, quoted, plain in _ITEM.findall(header):
            if not is_field:
                found.append(Challenge(name.lower(), {}))
            elif found:
                found[-1].fields[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) or plain
    yield from found


def choose(offered: Iterable[Challenge]) -> Challenge | None:
    """Return the best challenge that can be answered, or None.

    >>> choose([Challenge("basic", {}), Challenge("digest", {"realm": "x", "nonce": "y", "algorithm": "md5"})]).name
    'Digest md5'
    """
    offered = list(offered)
    digests = [
        challenge
        for challenge in offered
        if challenge.scheme == "digest"
        and {"realm", "nonce"} <= challenge.fields.keys()
        and challenge.fields.get("algorithm", "MD5").upper() in _ALGORITHMS
        and "auth" in re.split(r"[\s,]+", (challenge.fields.get("qop") or "auth").lower())
    ]
    if digests:
        return min(digests, key=lambda digest: _ALGORITHMS.index(digest.fields.get("algorithm", "MD5").upper()))
    return next((challenge for challenge in offered if challenge.scheme == "basic"), None)


def _quoted(value: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
