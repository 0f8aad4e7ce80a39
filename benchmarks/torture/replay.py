"""What a power cut may leave on a disk: a log of shim.c, replayed up to any point, with or without what was not synced.

A write is sure to last when its file was synced after it; a name, when its folder was. Of all else a disk may keep any
part: here all of it, none of it, or some by chance, whole writes and single sectors of them. Names in one folder last
in their order, as a journal keeps them. (What SQLite maps into memory, the index of its log, is not in the log: SQLite
makes it anew whenever nobody else has the database open.)

Source: Pillai et al., All File Systems Are Not Created Equal (ALICE), OSDI 2014, for the model; sqlite.org, How SQLite
Is Tested, for the idea.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

_HEADER = struct.Struct("<iiqqii")
SECTOR = 512  # bytes


class Kind(IntEnum):
    """What an entry does; as in shim.c."""

    CREATE = 0
    WRITE = 1
    SYNC = 2
    TRUNCATE = 3
    RENAME = 4
    UNLINK = 5
    MKDIR = 6
    RMDIR = 7
    OPEN = 8
    CLOSE = 9
    MARK = 10
    LINK = 11


@dataclass(frozen=True)
class Entry:
    """One line of the log."""

    kind: Kind
    file: int
    offset: int
    length: int
    first: str
    second: str
    data: bytes


def read_log(path: Path) -> list[Entry]:
    """Read what shim.c wrote."""
    data, at, entries = path.read_bytes(), 0, []
    while at < len(data):
        kind, file, offset, length, one, two = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        first, second = data[at : at + one].decode(), data[at + one : at + one + two].decode()
        at += one + two
        size = length if kind == Kind.WRITE else 0
        entries.append(Entry(Kind(kind), file, offset, length, first, second, data[at : at + size]))
        at += size
    return entries


@dataclass
class _File:
    """A file's bytes that will last, and the changes since."""

    lasting: bytes
    since: list[Entry] = field(default_factory=list)


@dataclass
class _Folder:
    """A folder's names that will last, and the changes since: a name and what it stands for, None for nothing."""

    lasting: dict[str, _File | _Folder]
    since: list[tuple[str, _File | _Folder | None]] = field(default_factory=list)

    @property
    def now(self) -> dict[str, _File | _Folder]:
        return _names(self.lasting, self.since)


Keep = Callable[[Sequence[object]], list[bool]]  # of the changes since the last sync, which the disk keeps


def all_of(changes: Sequence[object]) -> list[bool]:
    """Keep everything, as when the program alone is killed."""
    return [True] * len(changes)


def none_of(changes: Sequence[object]) -> list[bool]:
    """Keep what was synced and no more."""
    return [False] * len(changes)


class Disk:
    """A folder's files as a program leaves them, change by change.

    Args:
        folder: as it is before, all of it lasting.
    """

    def __init__(self, folder: Path) -> None:
        self._root = _read(folder)
        self._open: dict[int, _File | _Folder] = {}

    def apply(self, entry: Entry, sync: bool = True) -> None:
        """Do what an entry says; without `sync`, a sync does nothing, as in a program that forgot it."""
        if entry.kind in (Kind.OPEN, Kind.CREATE):
            if entry.kind is Kind.CREATE:
                self._name(entry.first, _File(b""))
            self._open[entry.file] = self._find(entry.first)
        elif entry.kind is Kind.CLOSE:
            self._open.pop(entry.file, None)
        elif entry.kind in (Kind.WRITE, Kind.TRUNCATE):
            file = self._open[entry.file]
            assert isinstance(file, _File)
            file.since.append(entry)
        elif entry.kind is Kind.SYNC and sync:
            self._sync(self._open[entry.file])
        elif entry.kind is Kind.MKDIR:
            self._name(entry.first, _Folder({}))
        elif entry.kind in (Kind.UNLINK, Kind.RMDIR):
            self._name(entry.first, None)
        elif entry.kind is Kind.RENAME:
            moved = self._find(entry.first)
            self._name(entry.first, None)
            self._name(entry.second, moved)
        elif entry.kind is Kind.LINK:
            self._name(entry.second, self._find(entry.first))

    def write(self, folder: Path, keep: Keep = all_of, torn: random.Random | None = None) -> None:
        """Write what a disk may hold now into an empty folder.

        Args:
            folder: where.
            keep: which of the changes that were not synced it has.
            torn: cuts sectors out of those writes; None: each is there whole.
        """
        _write(self._root, folder, keep, torn)

    def _find(self, path: str) -> _File | _Folder:
        found: _File | _Folder = self._root
        for part in Path(path).parts:
            assert isinstance(found, _Folder)
            found = found.now[part]
        return found

    def _name(self, path: str, meaning: _File | _Folder | None) -> None:
        folder = self._find(str(Path(path).parent))
        assert isinstance(folder, _Folder)
        folder.since.append((Path(path).name, meaning))

    def _sync(self, what: _File | _Folder) -> None:
        if isinstance(what, _File):
            what.lasting = _content(what, all_of, None)
        else:
            what.lasting = what.now
        what.since.clear()


def _read(folder: Path) -> _Folder:
    return _Folder({p.name: _read(p) if p.is_dir() else _File(p.read_bytes()) for p in folder.iterdir()})


def _names(
    lasting: dict[str, _File | _Folder], since: Sequence[tuple[str, _File | _Folder | None]]
) -> dict[str, _File | _Folder]:
    names = dict(lasting)
    for name, meaning in since:
        if meaning is None:
            names.pop(name, None)
        else:
            names[name] = meaning
    return names


def _write(what: _Folder, folder: Path, keep: Keep, torn: random.Random | None) -> None:
    kept = sum(keep(what.since))  # so many, the first ones
    for name, meaning in _names(what.lasting, what.since[:kept]).items():
        if isinstance(meaning, _File):
            (folder / name).write_bytes(_content(meaning, keep, torn))
        else:
            (folder / name).mkdir()
            _write(meaning, folder / name, keep, torn)


def _content(file: _File, keep: Keep, torn: random.Random | None) -> bytes:
    data = bytearray(file.lasting)
    for entry, kept in zip(file.since, keep(file.since), strict=True):
        if not kept:
            continue
        if entry.kind is Kind.TRUNCATE:
            del data[entry.offset :]
            data.extend(bytes(entry.offset - len(data)))
            continue
        data.extend(bytes(max(0, entry.offset + entry.length - len(data))))
        for at in range(0, entry.length, SECTOR):
            if torn is None or torn.random() < 0.5:
                part = entry.data[at : at + SECTOR]
                data[entry.offset + at : entry.offset + at + len(part)] = part
    return bytes(data)
