"""Keep what native libraries write straight to file descriptor 2 off the terminal: they speak past Python.

TFLite's runtimes tell of their start, libtiff of each fault in a picture, several lines for one that we report in one.
"""

import contextlib
import os
import threading
from collections.abc import Iterator

_one_at_a_time = threading.Lock()


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
