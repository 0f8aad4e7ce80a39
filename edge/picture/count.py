"""Count the files of a folder that were read, and those that were left out, by reason.

Every command that reads folders ends with this count: a line for people, `"files": {…}` for programs.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from edge.answers import Files, LeftOut, Skipped
from edge.text import plural


class Left(NamedTuple):
    """One file, or folder, that was left out."""

    path: Path
    reason: str  # of `REASONS`
    detail: str = ""  # what is to be said of this one file


class Reason(NamedTuple):
    """A reason why files are left out: `one` follows their count, or `many`; `partly` if a picture was lost."""

    one: str
    advice: str
    partly: bool = False
    many: str = ""  # if it differs from `one`


REASONS = {
    "heic": Reason(".heic", "convert them, or: pip install 'edge-transfer[heic]'", True),
    "avif": Reason(".avif", "convert them, or: pip install --upgrade pillow", True),
    "jpeg-2000": Reason("JPEG 2000", "convert them to JPEG", True),
    "raw": Reason("raw picture of a camera", "export them as JPEG", True, "raw pictures of a camera"),
    "format": Reason("picture in another format", "save them as JPEG or PNG", True, "pictures in other formats"),
    "damaged": Reason("damaged or cut short", "copy them again from the camera or card", True),
    "empty": Reason("empty", "copy them again from the camera or card", True),
    "too-large": Reason("too large", "make them smaller", True),
    "misnamed": Reason(
        "named like a picture that is something else",
        "edge classify FILE says what it is",
        True,
        "named like pictures that are something else",
    ),
    "unreadable": Reason("that cannot be opened", "check their permissions", True),
    "folder": Reason("folder that cannot be opened", "check their permissions", True, "folders that cannot be opened"),
    "broken-link": Reason("broken link", "copy the photos themselves", True, "broken links"),
    "not-numbers": Reason("of which the network makes NaN or infinity", "edge doctor", True),
    "contradicts": Reason("under two labels", "keep each photo in the folder of its true label"),
    "beside-labels": Reason(
        "photo beside the label folders",
        "move each into the folder of its label",
        many="photos beside the label folders",
    ),
    "frigate-guess": Reason(
        "guess of Frigate's that nobody has named",
        "edge review names them",
        many="guesses of Frigate's that nobody has named",
    ),
    "other-part": Reason("in a part of the data set that is not used here", ""),
    "not-asked": Reason("not asked, as a sample is enough", ""),
    "copy": Reason("exact copy", "", many="exact copies"),
    "known": Reason("known already", ""),
    "video": Reason("video", "take single pictures from them", many="videos"),
    "archive": Reason("archive", "unpack them", many="archives"),
    "text": Reason("text file", "", many="text files"),
    "other": Reason("other file", "", many="other files"),
    "not-a-file": Reason("socket, pipe or device", "", many="sockets, pipes or devices"),
    "system": Reason("hidden or system file", "", many="hidden or system files"),
    "loop": Reason("link to a folder around it", "", many="links to folders around them"),
    "linked-twice": Reason("link to a folder looked at already", "", many="links to folders looked at already"),
}


def count(read: int, left: Iterable[Left]) -> Files:
    """Count the files that were read and those left out, by reason, the most frequent first.

    >>> count(1, [Left(Path("a.heic"), "heic"), Left(Path("b.txt"), "text"), Left(Path("c.heic"), "heic")])[:2]
    (4, 1)
    """
    groups: dict[str, list[Path]] = {}
    for one in left:
        groups.setdefault(one.reason, []).append(one.path)
    return _files(
        read, [LeftOut(reason, len(paths), str(paths[0]), REASONS[reason].advice) for reason, paths in groups.items()]
    )


def together(parts: Iterable[Files]) -> Files:
    """Add counts."""
    groups: dict[str, LeftOut] = {}
    read = 0
    for part in parts:
        read += part.read
        for group in part.left_out:
            before = groups.get(group.reason)
            groups[group.reason] = before._replace(count=before.count + group.count) if before else group
    return _files(read, groups.values())


def line(files: Files) -> str:
    """Return the counts in one line.

    >>> print(line(count(2, [Left(Path("a.heic"), "heic"), Left(Path("b.txt"), "text")])))
    4 files: 2 read, 2 left out: 1 .heic (convert them, or: pip install 'edge-transfer[heic]'), 1 text file
    """
    start = f"{plural(files.seen, 'file')}: {files.read:,} read"
    if not files.left_out:
        return start
    groups = []
    for group in files.left_out:
        reason = REASONS[group.reason]
        words = reason.one if group.count == 1 else reason.many or reason.one
        groups.append(f"{group.count:,} {words}" + (f" ({group.advice})" if group.advice else ""))
    return f"{start}, {files.seen - files.read:,} left out: {', '.join(groups)}"


def partly(files: Files) -> bool:
    """Whether there were pictures that could not be read."""
    return any(REASONS[group.reason].partly for group in files.left_out)


def _files(read: int, groups: Iterable[LeftOut]) -> Files:
    left = tuple(sorted(groups, key=lambda group: (-group.count, group.reason)))
    return Files(read + sum(group.count for group in left), read, left)


def left_of(skipped: Sequence[Skipped]) -> list[Left]:
    """Convert skipped pictures into files that can be counted."""
    return [Left(Path(one.image), one.kind) for one in skipped]
