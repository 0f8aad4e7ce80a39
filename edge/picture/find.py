"""Find the pictures in folders by their content, in subfolders of any depth and through links; report other files.

Owns the search that all commands share; `classes` turns folders into labels. A file is included if it is a picture, or
has the name of one; if it cannot be read, whatever reads it reports that. All other files are left out, by reason.
"""

import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from edge.errors import ImageError
from edge.picture.count import Left, count, line
from edge.picture.kinds import CALLED, HEAD, Kind, kind

_HOUR = len("uncertain-20261124T16")
_GUESS = re.compile(r"((?P<object>\d+\.\d+-\w+)|none-none)-\d+\.\d+-.+-[01]\.\d+\.webp|example_\d{3}\.jpg")
_SYSTEM = frozenset({
    "@eadir", "@tmp", "#recycle", "#snapshot", "__macosx", "lost+found", "$recycle.bin", "recycler", "found.000",
    "system volume information", "thumbnails", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r",
})  # fmt: skip


class Found(NamedTuple):
    """The pictures of some paths, and what was left out."""

    files: tuple[Path, ...]
    left: tuple[Left, ...] = ()


def find(paths: Sequence[Path]) -> Found:
    """List picture files: those given, and those in given folders and their subfolders, sorted within each.

    Linked folders are followed, unless they contain the given folder; each folder is searched once.

    Raises:
        ImageError: a path does not exist, or a folder contains no picture.
        PermissionError: a path lies in a folder that may not be entered.
    """
    files: list[Path] = []
    left: list[Left] = []
    for path in paths:
        if not path.is_dir():
            try:
                path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                raise ImageError("picture-missing", f"{path} does not exist; check the path") from None
            files.append(path)
            continue
        found = walk(path, Visited(path))
        if not found.files:
            raise ImageError("no-pictures", f"{path} holds no picture ({summary(found.left)}); name another folder")
        files += found.files
        left += found.left
    return Found(tuple(files), tuple(left))


def reason(path: Path) -> str:
    """Return the reason to leave a file out; "" if it is a picture or has the name of one."""
    if is_system(path.name):
        return "system"
    try:
        about = path.stat()
    except OSError:
        return "broken-link" if os.path.islink(path) else "unreadable"  # noqa: PTH114 (as in walk)
    if not stat.S_ISREG(about.st_mode):
        return "not-a-file"
    if path.suffix.lower() in CALLED:
        return ""
    try:
        found = kind_of(path)
    except OSError:
        return "unreadable"
    return "" if found.is_picture else found.reason if found.reason not in ("empty", "damaged") else "other"


def is_system(name: str) -> bool:
    """Whether a file or folder is hidden, or belongs to an operating system or a NAS."""
    return name.startswith((".", "~$")) or name.lower() in _SYSTEM


def saved(folder: Path) -> list[Path]:
    """List the frames that `watch` saved in a folder, oldest first, and those that Frigate saved with its guesses."""
    waiting = (path for path in folder.glob("*") if path.name.startswith("uncertain-") or is_guess(path.name))
    return sorted(path for path in waiting if path.is_file())


def is_guess(name: str) -> bool:
    """Whether a file is called like those in the folder `train` of a custom classification of Frigate.

    >>> is_guess("1607123955.475377-mxklsc-1607123961.837752-Leo-0.93.webp"), is_guess("example_007.jpg")
    (True, True)
    """
    return _GUESS.fullmatch(name) is not None


def burst(name: str) -> str:
    """Return what the names of frames have in common that show nearly the same: the hour, or Frigate's tracked object.

    >>> burst("uncertain-20261124T160503.123456.jpg"), burst("1607123955.475377-mxklsc-1607123961.8-Leo-1.0.webp")
    ('uncertain-20261124T16', '1607123955.475377-mxklsc')
    """
    found = _GUESS.fullmatch(name)
    if found is None:
        return name[:_HOUR]
    return found["object"] or name


def kind_of(path: Path) -> Kind:
    with path.open("rb") as file:
        return kind(file.read(HEAD))


class Visited:
    """The folders that one search has visited, and those around its start, by device and inode."""

    def __init__(self, start: Path) -> None:
        self.folders: set[tuple[int, int]] = set()
        self.around = {_number(parent) for parent in start.resolve().parents}


def walk(folder: Path, seen: Visited) -> Found:
    """Search one folder: its own subfolders first, then linked ones, so that files keep their own paths."""
    files: list[Path] = []
    left: list[Left] = []
    own, linked = [folder], list[Path]()
    while own or linked:
        place = own.pop() if own else linked.pop(0)
        try:
            number = _number(place)
            if number in seen.folders:
                left.append(Left(place, "linked-twice"))
                continue
            seen.folders.add(number)
            inside = sorted(place.iterdir())
        except OSError:
            left.append(Left(place, "folder"))
            continue
        for path in inside:
            if is_system(path.name):
                left.append(Left(path, "system"))
            elif not os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises where we may not look)
                why = reason(path)
                if why:
                    left.append(Left(path, why))
                else:
                    files.append(path)
            elif not path.is_symlink():
                own.append(path)
            elif _number(path) in seen.around:
                left.append(Left(path, "loop"))
            else:
                linked.append(path)
    return Found(tuple(sorted(files)), tuple(left))


def _number(folder: Path) -> tuple[int, int]:
    about = folder.stat()
    return about.st_dev, about.st_ino


def summary(left: Iterable[Left]) -> str:
    """Say in one line which files were left out."""
    files = count(0, left)
    return line(files).partition("left out: ")[2] or "it is empty"
