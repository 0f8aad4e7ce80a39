"""A folder in which pictures arrive. Each is answered once, when it is complete, even across restarts and kills.

A file is taken when its size and modification time stay the same between two checks and `arrival` calls it complete. If
files are replaced or deleted before a second check, they are taken at the first one if they end as a picture does.
Answers are stored in the folder's *journal*, a file in the home with one JSON line per answer. An answer and the note
that its picture is done are one line, so neither can exist without the other. A picture is identified by path, time and
size: if it is written again, it is a new picture.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from edge.answers import Skipped
from edge.camera import arrival
from edge.camera.arrival import Stamp
from edge.errors import HomeError, ImageError, disk_errors_as
from edge.files import locked, replacing
from edge.metrics.figures import read_json
from edge.picture.find import is_system, reason
from edge.picture.frame import Frame

KEEP = 7 * 86_400.0  # seconds for which an answer is remembered though its picture is gone: it may be on a stick
TIDY = 10_000  # lines of a journal before it is looked through for such
MISSED = 5  # files that were gone before a second look, after which the first look has to do


class Notice(NamedTuple):
    """A message for people while a source is watched.

    `gone` is True if the source has stopped, False if it works again. `frozen` is True if a camera keeps delivering the
    very same picture, False if it has changed at last. None means that nothing has changed.
    """

    text: str
    gone: bool | None = None
    frozen: bool | None = None


class Journal:
    """The answers for the pictures of one folder.

    Raises:
        HomeError: it cannot be written, or another process watches the same folder for this home.
    """

    def __init__(self, home: Path, folder: Path) -> None:
        name = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:12]
        self.path = home / f"watched-{name}.jsonl"
        self._lock = _locked(home / f"watched-{name}.lock", folder)
        self._known: dict[str, Stamp] = {}
        self._lines = 0
        self._tidy_at = TIDY
        self.last: Any = None  # the answer that a killed run may not have told everybody
        self._untold = False
        with disk_errors_as(HomeError, "home-unwritable", f"{self.path} cannot be used", "move it elsewhere"):
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            self._torn = self._read()

    def has(self, name: str, stamp: Stamp) -> bool:
        """Whether this picture has been answered."""
        return self._known.get(name) == stamp

    def note(self, frame: Frame, answer: Any, at: float | None = None) -> None:
        """Store an answer.

        Args:
            answer: its answer, as JSON values.
            at: the time, in seconds since 1970; None for now.

        Raises:
            OSError: the disk refuses; the answer is remembered until the process ends.
        """
        stamp = self._known[frame.name] = Stamp(frame.time, len(frame.data))
        self._untold = True
        at = time.time() if at is None else at
        self._append({"image": frame.name, "stamp": stamp, "at": at, "answer": answer})

    def told(self) -> None:
        """Record that the last answer was passed on to every listener; otherwise the next run passes it on again."""
        self._untold = False

    def tidy(self, present: Collection[str], now: float) -> None:
        """If the journal is long, drop answers whose pictures have been gone for a long time.

        Args:
            present: the pictures in the folder.
            now: seconds since 1970.

        Raises:
            OSError: the disk refuses; the journal is unchanged.
        """
        if self._lines < self._tidy_at:
            return
        kept: dict[str, bytes] = {}
        for line in self.path.read_bytes().splitlines():
            entry = _parsed(line)
            if "image" in entry and (entry["image"] in present or now - entry.setdefault("at", now) < KEEP):
                kept[entry["image"]] = json.dumps(entry).encode()  # the newest of each; "at" is younger than 0.1.0
        with replacing(self.path, 0o600) as partial:
            partial.write_bytes(b"".join(line + b"\n" for line in kept.values()))
        os.close(self._file)
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND)
        self._known = {name: stamp for name, stamp in self._known.items() if name in kept}
        self._lines, self._tidy_at = len(kept), max(TIDY, 2 * len(kept))

    def close(self) -> None:
        """Record whether all answers were passed on, and let other processes watch the folder."""
        try:
            if self._lines and not self._untold:
                self._append({"stopped": True})
        except OSError:
            pass  # the last answer is passed on once more
        finally:
            os.close(self._file)
            os.close(self._lock)

    def _append(self, entry: Any) -> None:
        line = b"\n" * self._torn + json.dumps(entry).encode() + b"\n"  # ASCII: a file's name may be no UTF-8
        self._torn = True
        if os.write(self._file, line) == len(line):
            self._torn = False
        self._lines += 1

    def _read(self) -> bool:
        """Read the journal; returns whether its last line is incomplete."""
        data = self.path.read_bytes()
        last: Any = {}
        for line in data.splitlines():
            self._lines += 1
            entry = _parsed(line)
            if "image" in entry:
                self._known[entry["image"]] = Stamp(*entry["stamp"])
            last = entry or last
        self.last = last.get("answer")
        self._untold = self.last is not None
        return bool(data) and not data.endswith(b"\n")


class Folder:
    """A source of the pictures in a folder and its subfolders, both existing and new ones, oldest first."""

    live = False

    def __init__(self, path: Path, journal: Journal) -> None:
        self.path = path
        self.name = str(path)
        self.journal = journal
        self._refused: dict[str, Stamp] = {}
        self._cut: set[str] = set()  # those called incomplete, once
        self._resting: dict[str, float] = {}  # since when each has been as it is, by the monotonic clock
        self._missed = 0  # files that were gone before they could be looked at twice, since one was answered

    def frames(self, every: float, stop: threading.Event) -> Iterator[Frame | Skipped | Notice | None]:
        """Yield each complete picture once, and None when there is nothing new.

        Args:
            every: seconds between two checks; a folder that takes long to list is checked less often.
        """
        before: dict[str, Stamp] = {}
        gone = False
        while not stop.is_set():
            start = time.monotonic()
            try:
                now = _scan(self.path)
                self.journal.tidy(now, time.time())
                if gone:
                    yield Notice(f"{self.name} is back", gone=False)
                gone = False
            except OSError as error:
                if not gone:
                    yield Notice(f"{error.filename or self.name}: {error.strerror}; waiting for it", gone=True)
                now, gone = {}, True
            cost = time.monotonic() - start
            self._missed += 0 if gone else sum(name not in now and self._new(name, before[name]) for name in before)
            self._resting = {name: self._resting.get(name, start) for name in now if before.get(name) == now[name]}
            waiting = [name for name, stamp in now.items() if self._new(name, stamp)]
            for name in sorted(waiting, key=lambda name: (now[name].time, name)):
                if stop.is_set():
                    return
                if name in before or self._missed >= MISSED:
                    yield self._read(name)
            before = now
            yield from pause(max(every, 4 * cost), stop)

    def _new(self, name: str, stamp: Stamp) -> bool:
        return not self.journal.has(name, stamp) and self._refused.get(name) != stamp

    def _read(self, name: str) -> Frame | Skipped | None:
        path = Path(name)
        try:
            found = arrival.read(path)
            if found is None:
                return None  # it is being written again and again
        except (ImageError, OSError) as error:
            try:
                self._refused[name] = Stamp.of(path)
            except OSError:
                return None
            return Skipped(name, str(error))
        if not arrival.ends_as_picture(found.data):
            since = self._resting.get(name)
            if since is None:
                return None
            if arrival.under_way(found.data):
                now = time.time()
                if not (time.monotonic() - since > arrival.PATIENCE or found.stamp.time < now - arrival.PATIENCE):
                    return None
                self._refused[name] = found.stamp
                if name in self._cut:
                    return None
                self._cut.add(name)
                return Skipped(name, arrival.cut_short(name, len(found.data)))
        self._missed = 0
        self._cut.discard(name)
        return Frame(name, found.data, found.stamp.time)


def pause(seconds: float, stop: threading.Event) -> Iterator[None]:
    """Wait in steps of at most a second, so that the caller can do other work meanwhile."""
    end = time.monotonic() + seconds
    while True:
        yield None
        left = end - time.monotonic()
        if left <= 0 or stop.wait(min(left, 1.0)):
            return


def _scan(folder: Path) -> dict[str, Stamp]:
    """List the picture files below a folder, except hidden ones; raises OSError if the folder is gone."""
    found: dict[str, Stamp] = {}
    open_folders = [str(folder.absolute())]
    while open_folders:
        path = open_folders.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if is_system(entry.name) or Path(entry.name).suffix.lower() in arrival.UNDER_WAY:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        open_folders.append(entry.path)
                    elif not reason(Path(entry.path)):
                        try:
                            found[entry.path] = Stamp.of(entry)
                        except FileNotFoundError:
                            continue  # gone since
        except OSError:
            if path == str(folder.absolute()):
                raise
    return found


def _parsed(line: bytes) -> Any:
    try:
        entry = read_json(line)
    except ValueError:  # torn by a power cut
        return {}
    if not isinstance(entry, dict) or ("image" in entry and not _whole(entry["image"], entry.get("stamp"))):
        return {}
    return entry


def _whole(image: Any, stamp: Any) -> bool:
    numbers = isinstance(stamp, list) and len(stamp) == 2 and all(type(n) in (int, float) for n in stamp)
    return isinstance(image, str) and numbers


def _locked(path: Path, folder: Path) -> int:
    try:
        file = locked(path)
    except OSError as error:
        raise HomeError(
            "home-unwritable",
            f"{path} cannot be written ({error.strerror}), so answers cannot be recorded; "
            "make the home writable, or choose another one with --home",
        ) from error
    if file is None:
        raise HomeError(
            "folder-busy",
            f"{folder} is already being watched for this home by another process; stop that process first",
        )
    return file
