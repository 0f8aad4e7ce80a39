"""The password of the page: a file in the home with its scrypt hash, and the cookies derived from it.

A cookie is `EXPIRES.NONCE.SEAL`. The seal is an HMAC of the rest with a key derived from the hash, so cookies stay
valid after a restart, no sessions are stored, and a new password invalidates all older cookies.

Source: RFC 7914 (scrypt); the parameters are those of OWASP's password storage cheat sheet for 16 MB.
"""

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from edge.errors import EdgeError, HomeError, disk_errors_as
from edge.files import replacing

FILE = "password.json"
LEAST = 8  # characters
MOST = 1000
DAYS = 30  # that a browser stays logged in
_N, _R, _P = 2**14, 8, 5


class PasswordError(EdgeError, ValueError):
    """A password that is too short or too long."""


@dataclass(frozen=True)
class Password:
    """A stored password: salt and hash, never the password itself."""

    salt: bytes
    hash: bytes

    def fits(self, given: str) -> bool:
        """Whether this is the password; takes 16 MB and 0.1 to 1 s, so that guessing is slow."""
        return len(given) <= MOST and hmac.compare_digest(_scrypt(given, self.salt), self.hash)

    @property
    def cookie_name(self) -> str:
        """Name of the cookie; it differs per device, because several may be reached as localhost."""
        return f"edge_{self.salt.hex()[:8]}"

    def cookie(self, now: float) -> str:
        """Make a cookie that is valid for `DAYS` from now."""
        told = f"{int(now) + 86_400 * DAYS}.{secrets.token_hex(8)}"
        return f"{told}.{self._seal(told)}"

    def valid(self, cookie: str, now: float) -> bool:
        """Whether a cookie was made by this device with this password, and has not expired."""
        told, _, seal = cookie.rpartition(".")
        expires = told.partition(".")[0]
        fits = hmac.compare_digest(self._seal(told).encode(), seal.encode("utf-8", "replace"))
        return fits and expires.isdecimal() and now < int(expires)

    def _seal(self, told: str) -> str:
        key = hmac.new(self.hash, b"edge serve cookie", "sha256").digest()
        return hmac.new(key, told.encode("utf-8", "replace"), "sha256").hexdigest()


def put(home: Path, password: str) -> Path:
    """Store a password's hash in a home, readable only by its owner; returns the file.

    Raises:
        PasswordError: the password is too short or too long.
        HomeError: the home cannot be written.
    """
    if not LEAST <= len(password) <= MOST:
        raise PasswordError("password-invalid", f"the password has {len(password)} characters; use {LEAST} to {MOST}")
    salt = os.urandom(16)
    about = {"method": "scrypt", "n": _N, "r": _R, "p": _P, "salt": salt.hex(), "hash": _scrypt(password, salt).hex()}
    path = home / FILE
    with (
        disk_errors_as(HomeError, "home-unwritable", f"{path} cannot be written", "check the home's permissions"),
        replacing(path, 0o600) as partial,
    ):
        partial.write_text(json.dumps(about) + "\n")
    return path


class Stored:
    """The password of a home, read again when its file has changed."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        self._stamp: tuple[int, int] | None = None
        self._password: Password | None = None

    def get(self) -> Password | None:
        """Return the stored password; None if none was set.

        Raises:
            HomeError: the file is damaged; nobody can log in until it is replaced.
        """
        try:
            about = self._path.stat()
        except FileNotFoundError:
            self._stamp = self._password = None
            return None
        except OSError as error:
            raise HomeError("home-unwritable", f"{self._path} cannot be read ({error.strerror})") from error
        stamp = about.st_mtime_ns, about.st_ino
        if stamp != self._stamp:
            self._password = _read(self._path)
            self._stamp = stamp
        return self._password


class Tries:
    """Slows down guessing: limits the wrong passwords per `SECONDS`, from one address and in total.

    >>> tries = Tries()
    >>> for second in range(5):
    ...     tries.failed("192.0.2.7", float(second))
    >>> tries.wait("192.0.2.7", 10.0), tries.wait("192.0.2.8", 10.0)
    (50.0, 0.0)
    """

    SECONDS, EACH, ALL = 60.0, 5, 30

    def __init__(self) -> None:
        self._failed: list[tuple[float, str]] = []

    def wait(self, address: str, now: float) -> float:
        """Return how many seconds to wait before the next attempt; 0 if it may come now."""
        self._failed = [(at, who) for at, who in self._failed if now - at < self.SECONDS]
        own = [at for at, who in self._failed if who == address]
        every = [at for at, _ in self._failed]
        due = [times[-most] for times, most in ((own, self.EACH), (every, self.ALL)) if len(times) >= most]
        return max((self.SECONDS - (now - at) for at in due), default=0.0)

    def failed(self, address: str, now: float) -> None:
        """Record a wrong password."""
        self._failed.append((now, address))


def _scrypt(password: str, salt: bytes) -> bytes:
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=_N, r=_R, p=_P, maxmem=64_000_000, dklen=32)


def _read(path: Path) -> Password:
    try:
        about = json.loads(path.read_text())
        if (about["method"], about["n"], about["r"], about["p"]) != ("scrypt", _N, _R, _P):
            raise ValueError(about["method"])
        found = Password(bytes.fromhex(about["salt"]), bytes.fromhex(about["hash"]))
        if len(found.salt) != 16 or len(found.hash) != 32:
            raise ValueError("length")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HomeError("home-damaged", f"{path} is damaged; set the password again: edge password") from error
    return found
