"""Count the files of a folder that were read, and those that were left out, by reason.

Every command that reads folders ends with this count: a line for people, `"files": {…}` for programs.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from edge.answers import Files, LeftOut, Skipped


class Left(NamedTuple):
    """One file, or folder, that was left out."""

    path: Path
    reason: str  # of `REASONS`
    detail: str = ""  # what is to be said of this one file


class Reason(NamedTuple):
    """A reason why files are left out: `one` or `many` follows their count; `partly` if a picture was lost."""

    one: str
    many: str
    advice: str
    partly: bool = False


_PIP = "pip install 'edge-transfer[heic]'"
REASONS = {
    "heic": Reason(".heic", ".heic", f"convert them, or: {_PIP}", True),
    "avif": Reason(".avif", ".avif", "convert them, or: pip install --upgrade pillow", True),
    "jpeg-2000": Reason("JPEG 2000", "JPEG 2000", "convert them to JPEG", True),
    "raw": Reason("raw picture of a camera", "raw pictures of a camera", "export them as JPEG", True),
    "format": Reason("picture in another format", "pictures in other formats", "save them as JPEG or PNG", True),
    "damaged": Reason("damaged or cut short", "damaged or cut short", "copy them again from the camera or card", True),
    "empty": Reason("empty", "empty", "copy them again from the camera or card", True),
    "too-large": Reason("too large", "too large", "make them smaller", True),
    "misnamed": Reason(
        "named like a picture that is something else",
        "named like pictures that are something else",
        "edge classify FILE says what it is",
        True,
    ),
    "unreadable": Reason("that cannot be opened", "that cannot be opened", "check their permissions", True),
    "folder": Reason("folder that cannot be opened", "folders that cannot be opened", "check their permissions", True),
    "broken-link": Reason("broken link", "broken links", "copy the photos themselves", True),
    "not-numbers": Reason(
        "of which the network makes NaN or infinity", "of which the network makes NaN or infinity", "edge doctor", True
    ),
    "contradicts": Reason("under two labels", "under two labels", "keep each photo in the folder of its true label"),
    "beside-labels": Reason(
        "photo beside the label folders", "photos beside the label folders", "move each into the folder of its label"
    ),
    "frigate-guess": Reason(
        "guess of Frigate's that nobody has named",
        "guesses of Frigate's that nobody has named",
        "edge review names them",
    ),
    "other-part": Reason(
        "in a part of the data set that is not used here", "in a part of the data set that is not used here", ""
    ),
    "not-asked": Reason("not asked, as a sample is enough", "not asked, as a sample is enough", ""),
    "copy": Reason("exact copy", "exact copies", ""),
    "known": Reason("known already", "known already", ""),
    "video": Reason("video", "videos", "take single pictures from them"),
    "archive": Reason("archive", "archives", "unpack them"),
    "text": Reason("text file", "text files", ""),
    "other": Reason("other file", "other files", ""),
    "not-a-file": Reason("socket, pipe or device", "sockets, pipes or devices", ""),
    "system": Reason("hidden or system file", "hidden or system files", ""),
    "loop": Reason("link to a folder around it", "links to folders around them", ""),
    "linked-twice": Reason("link to a folder looked at already", "links to folders looked at already", ""),
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
    start = f"{files.seen:,} file{'' if files.seen == 1 else 's'}: {files.read:,} read"
    if not files.left_out:
        return start
    groups = [
        f"{group.count:,} {REASONS[group.reason].one if group.count == 1 else REASONS[group.reason].many}"
        + (f" ({group.advice})" if group.advice else "")
        for group in files.left_out
    ]
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
