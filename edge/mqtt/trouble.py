"""What keeps a broker from being reached, in words that say how to mend it; each is said once until it changes."""

import socket
import ssl
from collections import deque
from collections.abc import Iterator

STABLE = 60.0  # seconds: a connection that breaks sooner, again and again, is said to do so, and then no more


class News:
    """Lines for people, not the same one twice in a row; and how often a connection broke soon after it was made.

    Args:
        broker: its host and port.
    """

    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._lines: deque[str] = deque(maxlen=50)
        self._said = ""
        self._breaks = 0  # connections in a row that did not last

    @property
    def silent(self) -> bool:
        """Whether nothing was said so far."""
        return not self._said

    def say(self, text: str) -> None:
        """Add a line, unless it was the last one."""
        if text != self._said:  # once, not at each new try
            self._said = text
            self._lines.append(text)

    def add(self, text: str) -> None:
        """Add a line that may be said again and again."""
        self._lines.append(text)

    def take(self) -> Iterator[str]:
        """Yield the lines since the last asking."""
        while self._lines:
            yield self._lines.popleft()

    def connected(self, name: str) -> None:
        """Tell that the connection was made, unless it breaks again and again."""
        if self._breaks < 3:
            self.say(f"connected to broker {self._broker} as '{name}'")

    def broke(self, lasted: float) -> None:
        """Tell that it broke after so many seconds."""
        self._breaks = self._breaks + 1 if lasted < STABLE else 0
        if self._breaks < 3:
            self.say(f"broker {self._broker} is gone; waiting for it")
        elif self._breaks == 3:
            self.say(
                f"the connection to broker {self._broker} breaks again and again; still trying; look in the "
                "broker's log for the reason, such as another program that uses the same client id"
            )

    def lasts(self, seconds: float) -> None:
        """Tell that a connection which broke again and again has lasted so many seconds."""
        if self._breaks >= 3 and seconds >= STABLE:
            self._breaks = 0
            self.say(f"the connection to broker {self._broker} is stable again")


def why(error: BaseException | None, tls: bool) -> str:
    """Say what keeps a broker from being reached, and what mends it."""
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
