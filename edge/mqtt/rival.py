"""Two watchers with one NAME mix up their answers: each hears of the other by a message that both publish."""

import json
import secrets
import socket


class Rivals:
    """Who else publishes under our NAME.

    Args:
        called: what is watched here, as people call it.
    """

    def __init__(self, called: str) -> None:
        self.me = {"id": secrets.token_hex(8), "host": socket.gethostname(), "watches": called}
        self.claimed = False  # whether the broker has our message
        self._others: set[str] = set()  # ids of processes that were told of

    def heard(self, payload: bytes, retained: bool) -> str | None:
        """Read a message; returns the host of a watcher that was not known yet."""
        try:
            other = {key: str(json.loads(payload)[key]) for key in ("id", "host", "watches")}
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        if other["id"] == self.me["id"]:
            self.claimed = True
            return None
        # retained, before ours was: left by an earlier process, which may be long gone
        if (retained and not self.claimed) or other["id"] in self._others:
            return None
        self._others.add(other["id"])
        return other["host"][:100]
