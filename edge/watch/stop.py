"""When to stop: a flag that a signal handler may set at any moment.

A handler runs between two steps of the program, perhaps within `threading.Event.set` or `wait`, whose lock is then
held: setting the same event there waits for ever. Here nothing is locked: a byte in a pipe wakes whoever waits, now or
later (the "self-pipe trick", D. J. Bernstein).
"""

import os
import select
import threading


class Stop(threading.Event):
    """An event that can be set in a signal handler; it cannot be taken back."""

    def __init__(self) -> None:
        super().__init__()
        self._set = False
        self._read, self._write = os.pipe()  # as long as the process lives

    def is_set(self) -> bool:
        """Whether to stop."""
        return self._set

    def set(self) -> None:
        """Say that it is time to stop."""
        if not self._set:
            self._set = True
            os.write(self._write, b"\0")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, for `timeout` seconds at most; returns whether it is."""
        select.select([self._read], [], [], timeout)
        return self._set
