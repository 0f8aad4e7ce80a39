"""Keep the messages of exporters off the terminal: warnings, logs, and output of C++ on descriptors 1 and 2.

Results go to stdout and are read by programs; a converter that prints there would break them. `EDGE_DEBUG=1` lets
everything through.
"""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress everything that the body prints, warns or logs below ERROR; its exceptions pass unchanged."""
    if os.environ.get("EDGE_DEBUG") == "1":
        yield
        return
    before = logging.root.manager.disable
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(nowhere),  # Python's own streams may lead elsewhere than to the descriptors
        contextlib.redirect_stderr(nowhere),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            for descriptor in saved:
                os.dup2(nowhere.fileno(), descriptor)
            yield
        finally:
            for descriptor, copy in saved.items():
                os.dup2(copy, descriptor)
                os.close(copy)
            logging.disable(before)
