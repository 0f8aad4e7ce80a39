"""Explains why a broker cannot be reached and how to fix it; each message is reported once until it changes."""

import socket
import ssl
from collections import deque
from collections.abc import Iterator

STABLE = 60.0  # seconds: connections that keep breaking sooner are reported once as unstable


class News:
    """Collects messages for people, without repeating the last one, and counts connections that broke soon.

    Args:
        broker: the broker's host and port.
    """

    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._lines: deque[str] = deque(maxlen=50)
        self._said = ""
        self._breaks = 0  # connections in a row that did not last

    @property
    def silent(self) -> bool:
        """Whether there was no message so far."""
        return not self._said

    def say(self, text: str) -> None:
        """Add a line unless it repeats the last one."""
        if text != self._said:  # once, not at every attempt
            self._said = text
            self._lines.append(text)

    def add(self, text: str) -> None:
        """Add a line that may be repeated."""
        self._lines.append(text)

    def take(self) -> Iterator[str]:
        """Yield the lines since the last call."""
        while self._lines:
            yield self._lines.popleft()

    def connected(self, name: str) -> None:
        """Report that the connection is up, unless it keeps breaking."""
        if self._breaks < 3:
            self.say(f"connected to broker {self._broker} as '{name}'")

    def broke(self, lasted: float) -> None:
        """Report that the connection broke, given the seconds that it lasted."""
        self._breaks = self._breaks + 1 if lasted < STABLE else 0
        if self._breaks < 3:
            self.say(f"broker {self._broker} is gone; waiting for it")
        elif self._breaks == 3:
            self.say(
                f"the connection to broker {self._broker} breaks again and again; still trying; look in the "
                "broker's log for the reason, such as another program that uses the same client id"
            )

    def lasts(self, seconds: float) -> None:
        """Report that an unstable connection has become stable, given the seconds that it has lasted."""
        if self._breaks >= 3 and seconds >= STABLE:
            self._breaks = 0
            self.say(f"the connection to broker {self._broker} is stable again")


def why(error: BaseException | None, tls: bool) -> str:
    """Return why a broker cannot be reached, and how to fix that."""
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = {
            9: "it is not valid yet: set this machine's clock",
            10: "it has expired: renew it, or set this machine's clock",
            62: "it belongs to another host: write the host in --mqtt as in the certificate",
            64: "it belongs to another host: write the host in --mqtt as in the certificate",
        }.get(
            error.verify_code,
            "set the file of the authority that signed it, or the certificate itself if it is self-signed, in the "
            "environment variable SSL_CERT_FILE=/path/ca.crt",
        )
        return f"has a certificate that is not trusted here ({error.verify_message}); {advice}"
    if isinstance(error, ssl.SSLError) or (tls and isinstance(error, ConnectionResetError)):
        reason = getattr(error, "reason", None) or error.strerror
        return f"does not speak TLS as expected ({reason}); a port without TLS needs mqtt://, not mqtts://"
    if isinstance(error, socket.gaierror):
        return "cannot be reached: its host name is not known"
    if isinstance(error, TimeoutError):
        return "cannot be reached: it does not answer"
    if isinstance(error, ConnectionRefusedError) or not isinstance(error, OSError):
        return "cannot be reached"
    return f"cannot be reached: {error.strerror or error}"
