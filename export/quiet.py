"""Keeps the chatter of exporters off the terminal: Python's warnings and logs, and what C++ writes to descriptors 1 and 2.

Our results go to stdout and are read by programs; a converter that prints its stages there would break them.
`EDGE_DEBUG=1` lets everything through.
"""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence everything that the body prints, warns or logs below ERROR; its exceptions pass unchanged."""
    if os.environ.get("EDGE_DEBUG") == "1":
        yield
        return
    disabled = logging.root.manager.disable
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere:  # noqa: PTH123: devnull is no path to join
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere), _descriptors_closed(nowhere):
            try:
                yield
            finally:
                logging.disable(disabled)


@contextlib.contextmanager
def _descriptors_closed(nowhere: object) -> Iterator[None]:
    sys.__stdout__ and sys.__stdout__.flush()
    sys.__stderr__ and sys.__stderr__.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    try:
        for descriptor in saved:
            os.dup2(null, descriptor)
        yield
    finally:
        for descriptor, copy in saved.items():
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(null)
