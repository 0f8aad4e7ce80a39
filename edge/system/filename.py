"""A file's name, which may be any bytes, as text: in the database, on a page, in a command to copy."""

import os
import re
import shlex
from pathlib import Path


def stored(name: str) -> str:
    r"""Write a file's name, which may be any bytes, as text that a database and a page can hold.

    >>> print(stored("caf\udce9.jpg"))
    caf\xe9.jpg
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def restored(name: str) -> Path:
    r"""Return the file that a stored name is of."""
    if "\\x" not in name or os.path.lexists(name):
        return Path(name)
    parts = re.split(r"\\x([89a-f][0-9a-f])", name)
    return Path(os.fsdecode(b"".join(bytes.fromhex(p) if i % 2 else p.encode() for i, p in enumerate(parts))))


def quoted(path: Path) -> str:
    r"""Write a path as a shell takes it; one that is not UTF-8 with bash's `$'…'`.

    >>> print(quoted(Path("my cup.jpg")), quoted(Path("caf\udce9.jpg")))
    'my cup.jpg' $'caf\xe9.jpg'
    """
    name = str(path)
    if stored(name) == name:
        return shlex.quote(name)
    bare = (chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\x{b:02x}" for b in os.fsencode(name))
    return f"$'{''.join(bare)}'"
