"""The rows of the home's database: examples, labels, heads, and settings.

`schema` defines the tables, `database` opens the file and makes transactions. SQLite does not check types when it
reads, and a damaged card changes bytes. So `labels`, `examples` and `heads`, which together make a store, check every
row that they read, and a CRC-32 shows whether an embedding or a head is damaged.
"""

from pathlib import Path

from edge.home.database import FILE, connect
from edge.home.examples import Examples
from edge.home.heads import Heads
from edge.home.ours import close_to_others


class Store(Examples, Heads):
    """An open home's database. Use as a context manager; group changes with `transaction`."""


def open_store(home: Path, create: bool = False) -> Store:
    """Open a home, bringing an older schema up to date.

    Args:
        home, create: as `connect`.

    Raises:
        HomeMissing, HomeBusy, HomeError: as `connect`.
    """
    store = Store(connect(home, create), home / FILE)
    close_to_others(store)
    return store
