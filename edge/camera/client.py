"""Asking a web server by requests, which is imported here alone: one session an address, and failures in plain words.

What a library says of a failure is never passed on, as it repeats the address with all that is in it.
"""

import contextlib
import ipaddress
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge.camera.address import Address
from edge.errors import SourceError, SourceRefused

if TYPE_CHECKING:
    from requests import Session

TIMEOUT = 10.0  # seconds: to connect, from one byte to the next, and for a whole picture
_PASSING = {408, 425, 429}  # of the answers 4xx, those that a later try may not get


@contextlib.contextmanager
def plainly(timeout: float = TIMEOUT) -> Iterator[None]:
    """Say what requests raises within as a `SourceError`.

    Args:
        timeout: the seconds that requests waits, for the message.

    Raises:
        SourceRefused: waiting cannot help; or requests is missing.
        SourceError: it does not answer, or breaks off.
    """
    try:
        import requests
        import urllib3
    except ImportError as error:
        raise SourceRefused(
            "library-missing",
            f"an http camera needs the package requests, which cannot be loaded ({error}); run: pip install requests",
        ) from None
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise SourceRefused("certificate-untrusted", _certificate(str(error))) from None
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise SourceError("stream-failed", f"no answer within {timeout:.0f} s") from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError):
        raise SourceRefused("address-refused", "the address, or the one it redirects to, is not valid") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise SourceError("stream-failed", _why(error)) from None


def session(address: Address, self_signed: bool) -> "Session":
    """Return a session for an address, which logs in nowhere yet.

    Args:
        address: where; a proxy of the environment is used only if it lies outside one's own network.
        self_signed: take any certificate.
    """
    from requests import Session
    from requests.utils import get_environ_proxies

    session = Session()
    session.trust_env = False  # no logins from ~/.netrc
    session.headers.update({"Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"})
    if not _is_near(address.host):
        session.proxies = get_environ_proxies(address.bare)
    roots = ssl.get_default_verify_paths()  # the system's, with what its owner added, before those of certifi
    session.verify = not self_signed and (roots.cafile or roots.capath or True)
    if self_signed:
        import urllib3

        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return session


def answered(status: int) -> str:
    """Say a status in the standard's words, and not in the server's own, which may repeat the address.

    >>> answered(404)
    'it answered 404 Not Found'
    """
    from http.client import responses

    return f"it answered {status} {responses.get(status, '')}".strip()


def passes(status: int) -> bool:
    """Whether a later try may get another answer than this status, which is no success."""
    return status >= 500 or status in _PASSING


def _certificate(why: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in why:
        return (
            "its certificate is not signed by a known authority, as with most cameras; in your own network, use "
            "--allow-self-signed"
        )
    if "WRONG_VERSION_NUMBER" in why or "record layer" in why:
        return "it does not use https at this address; try http://"
    return "there is no encryption that both sides support; try http://, or update the camera's software"


def _why(error: BaseException) -> str:
    """Return what the system says of a failed connection, found in the errors that led to this one."""
    seen: list[BaseException] = []
    queue = [error]
    while queue:
        one = queue.pop(0)
        if one in seen:
            continue
        seen.append(one)
        if isinstance(one, OSError) and one.strerror:
            return str(one.strerror)
        more = [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
        queue += [next_one for next_one in more if isinstance(next_one, BaseException)]
    return "the connection was interrupted"


def _is_near(host: str) -> bool:
    """Whether a host is in one's own network, which proxies do not reach."""
    try:
        return not ipaddress.ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".lan", ".home", ".home.arpa", ".internal", ".localdomain"))
