"""The rows of the home's database: what was taught, every head made of it, and what is remembered beside them.

`schema` says which tables there are, `database` opens the file and makes changes whole. SQLite does not look at types
when it reads, and a damaged card changes bytes: every row that leaves `labels`, `examples` and `heads`, of which a
store is made, has been looked at there, and a CRC-32 tells when an embedding or a head is not what was written.
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
