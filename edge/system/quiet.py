"""Keep what native libraries write straight to file descriptor 2 off the terminal: they speak past Python.

TFLite's runtimes tell of their start, libtiff of each fault in a picture, several lines for one that we report in one.
"""

import contextlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator

_one_at_a_time = threading.Lock()


class Filters:
    """Filters of Python's warnings that hold while any thread is inside, and are gone when the last one has left.

    `warnings.catch_warnings` alone would not do: of two threads that leave in another order than they came, the later
    one puts the other's filters in the place of the process's own, for good.

    Args:
        install: sets the filters.
    """

    def __init__(self, install: Callable[[], None]) -> None:
        self._install, self._lock, self._inside = install, threading.Lock(), 0
        self._before = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                self._install()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.__exit__(None, None, None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Throw away what is written to descriptor 2 meanwhile."""
    with _one_at_a_time:
        saved = os.dup(2)
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(null)
