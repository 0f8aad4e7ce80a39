"""Tell systemd that a service is ready, alive or stopping: a datagram to the socket that it names. No library needed.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

import socket
import time
from collections.abc import Mapping


class Notifier:
    """Sends messages to systemd if it listens, else does nothing.

    Args:
        environment: contains `NOTIFY_SOCKET` and `WATCHDOG_USEC`.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        asked = environment.get("WATCHDOG_USEC", "")
        self._interval = int(asked) / 2e6 if asked.isdecimal() else 0.0  # seconds: twice as often as it asks
        self._last = float("-inf")

    def tell(self, message: str) -> None:
        """Send one message, such as READY=1; ignore a systemd that no longer listens."""
        if self._address:
            address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(1)
                try:
                    sender.sendto(message.encode(), address)
                except OSError:
                    return

    def alive(self) -> None:
        """Send the watchdog's message, if it is due."""
        now = time.monotonic()
        if self._interval and now - self._last >= self._interval:
            self._last = now
            self.tell("WATCHDOG=1")
