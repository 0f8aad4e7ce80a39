"""Detects two watchers with the same NAME, which would mix up their answers, by a message that both publish."""

import json
import secrets
import socket


class Rivals:
    """The other watchers that publish under our NAME."""

    def __init__(self, called: str) -> None:
        self.me = {"id": secrets.token_hex(8), "host": socket.gethostname(), "watches": called}
        self.claimed = False  # whether the broker has our message
        self._others: set[str] = set()  # ids of processes that were reported

    def heard(self, payload: bytes, retained: bool) -> str | None:
        """Read a message; returns the host of a watcher that was not reported yet."""
        try:
            other = {key: str(json.loads(payload)[key]) for key in ("id", "host", "watches")}
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        if other["id"] == self.me["id"]:
            self.claimed = True
            return None
        # retained before ours: from an earlier process, which may be long gone
        if (retained and not self.claimed) or other["id"] in self._others:
            return None
        self._others.add(other["id"])
        return other["host"][:100]
