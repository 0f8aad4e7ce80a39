"""Pictures in folders that are named after their labels, perhaps in the parts (train, val, test) of a data set."""

import contextlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from edge.errors import DatasetError, disk_errors_as
from edge.files import sha256
from edge.labels import clean
from edge.picture.count import Left
from edge.picture.find import Visited, is_guess, is_system, kind_of, reason, summary, walk

_PART = re.compile(r"(?:(train|training)|(val|valid|validation|dev|eval|evaluation)|(test|testing))[-_ ]?\d{0,4}")
_BOXES = (frozenset({"images", "jpegimages"}), frozenset({"labels", "annotations"}))  # folders of object detection


class LabelledPictures(NamedTuple):
    """The pictures of a folder with one subfolder per label."""

    labels: tuple[str, ...]  # C names, sorted
    files: tuple[Path, ...]  # N files, by label, with those to teach first
    names: tuple[str, ...]  # N labels, one per file
    held: tuple[bool, ...]  # N bools, whether the file is in the validation part
    parts: tuple[str, str]  # names of the parts that are taught and held out; "" if the folder has no parts
    left: tuple[Left, ...]

    @property
    def layout(self) -> str:
        """How the folder's parts are used, in words; "" if it has none."""
        does = ("is taught", "is held out")
        return ", ".join(f"{part} {verb}" for part, verb in zip(self.parts, does, strict=True) if part)

    @property
    def contradictions(self) -> tuple[Left, ...]:
        """The pictures that are in the folders of two labels; none of them is among `files`."""
        return tuple(one for one in self.left if one.reason == "contradicts")


def labelled(folder: Path) -> LabelledPictures:
    """List the pictures of a folder with one subfolder per label.

    Subfolders named like parts of a data set (train, val, test …) are used as parts if they contain the label folders:
    train is taught, and val, or test if there is no val, is held out. In a custom classification of Frigate, the label
    folders in `dataset` are used; `train` contains guesses that nobody has checked.

    Raises:
        DatasetError: the folder is not of this form; the message says what is wrong and what to do.
        LabelError: the name of a folder is not a valid label.
    """
    if not folder.is_dir():
        raise DatasetError(
            "folder-missing", f"{folder} is not a folder; give one that contains a folder of pictures for each label"
        )
    places, left = _folders(folder)
    guesses = _guesses_of_frigate(places)
    if guesses is not None:
        found = labelled(folder / "dataset")
        return found._replace(left=(*found.left, *left, *guesses))
    if not places:
        raise DatasetError(
            "no-label-folders",
            f"{folder} contains no label folders; put the pictures of each label into a folder named after it",
        )
    _refuse_boxes(folder, places)
    parts = _parts(places)
    if parts:
        return _agreeing(_parted(folder, parts, left))
    _refuse_wrapping(folder, places, left)
    return _agreeing(_classes(places, left, Visited(folder)))


def refuse_labels(folder: Path, files: Sequence[Path], label: str, known: Collection[str]) -> None:
    """Refuse to teach one label from a folder that contains the folders of several labels.

    Raises:
        DatasetError: the subfolders look like labels: two or more without a picture beside them, or a known label.
    """
    inside = sorted({file.relative_to(folder).parts[0] for file in files if file.parent != folder})
    named = any(name != label and name in known for name in inside)
    if named or (len(inside) > 1 and all(file.parent != folder for file in files) and folder.resolve().name != label):
        one = f"{folder / inside[0]} …"
        raise DatasetError(
            "folder-layout",
            f"{folder} contains the folders {_list(inside)}; to teach each of them as a label, run: edge "
            f"teach --folders {folder}; to teach all of them as {label!r}, list them: edge teach {label} {one}",
        )


def _folders(folder: Path) -> tuple[list[Path], list[Left]]:
    """The visible subfolders of a folder, linked ones last, and the files beside them."""
    with disk_errors_as(DatasetError, "folder-unreadable", f"{folder} cannot be opened", "check its permissions"):
        inside = sorted(folder.iterdir())
    places: list[Path] = []
    left: list[Left] = []
    for path in inside:
        if os.path.isdir(path) and not is_system(path.name):  # noqa: PTH112
            places.append(path)
        else:
            left.append(Left(path, reason(path) or "beside-labels"))
    return sorted(places, key=lambda path: (path.is_symlink(), path)), left


def _guesses_of_frigate(places: Sequence[Path]) -> list[Left] | None:
    """The pictures that a custom classification of Frigate waits to have named; None: these are not its folders.

    Source: frigate/util/classification.py and frigate/data_processing/real_time/custom_classification.py of Frigate
    0.18.0: `dataset/CLASS/*.png` and `train/EVENT-TIME-GUESS-SCORE.webp`.
    """
    if sorted(place.name for place in places) != ["dataset", "train"]:
        return None
    inside = {place.name: _folders(place) for place in places}
    if not inside["dataset"][0] or {place.name for place in inside["train"][0]} - {"labelled"}:  # which `review` makes
        return None
    return [Left(one.path, "frigate-guess") if is_guess(one.path.name) else one for one in inside["train"][1]]


def _classes(places: Iterable[Path], left: list[Left], seen: Visited) -> LabelledPictures:
    """Each folder as a label."""
    found: dict[str, Path] = {}
    for place in sorted(places):
        first = found.setdefault(clean(place.name), place)
        if first != place:
            raise DatasetError(
                "folder-layout", f"{first} and {place} both stand for {clean(place.name)!r}; merge the two folders"
            )
    below = {label: walk(found[label], seen) for label in sorted(found, key=lambda name: found[name].is_symlink())}
    for label, pictures in below.items():
        if not pictures.files:
            raise DatasetError(
                "too-few-photos",
                f"label {label!r} has no photo ({found[label]}: {summary(pictures.left)}); add some, or move that "
                "folder elsewhere",
            )
    labels = tuple(sorted(found))
    files = tuple(file for label in labels for file in below[label].files)
    names = tuple(label for label in labels for _ in below[label].files)
    left = left + [one for label in labels for one in below[label].left]
    return LabelledPictures(labels, files, names, (False,) * len(files), ("", ""), tuple(left))


def _agreeing(found: LabelledPictures) -> LabelledPictures:
    """Leave out identical pictures in the folders of different labels, because the true label is not known."""
    rows = list(zip(found.files, found.names, found.held, strict=True))
    sizes: dict[int, list[tuple[Path, str]]] = {}
    for file, name, _ in rows:
        with contextlib.suppress(OSError):
            sizes.setdefault(file.stat().st_size, []).append((file, name))
    left: dict[Path, Left] = {}
    for alike in sizes.values():
        if len({name for _, name in alike}) > 1:  # only of these the bytes are compared
            for file, name, other, its in _contradictions(alike):
                detail = f"{file} ({name}) and {other} ({its}) are the same picture with two labels; neither is used"
                left[file] = Left(file, "contradicts", detail)
    rows = [row for row in rows if row[0] not in left]
    for label in found.labels:
        if not any(name == label for _, name, _ in rows):
            reason = next(one.detail for one in left.values() if f"({label})" in one.detail)
            raise DatasetError(
                "too-few-photos",
                (
                    f"label {label!r} has no photo of its own ({reason}); keep each photo only in the folder of "
                    "its true label"
                ),
            )
    return found._replace(
        files=tuple(file for file, _, _ in rows),
        names=tuple(name for _, name, _ in rows),
        held=tuple(held for _, _, held in rows),
        left=(*left.values(), *found.left),
    )


def _contradictions(alike: Sequence[tuple[Path, str]]) -> Iterator[tuple[Path, str, Path, str]]:
    """The files among those of one size that are identical to a file of another label, with that file."""
    same: dict[str, list[tuple[Path, str]]] = {}
    for file, name in alike:
        with contextlib.suppress(OSError):
            same.setdefault(sha256(file), []).append((file, name))
    for group in same.values():
        if len({name for _, name in group}) == 1 or not kind_of(group[0][0]).is_picture:
            continue  # the same web page or nothing at all, under names of pictures
        for file, name in group:
            other = next((one for one in group if one[1] != name), None)
            if other:
                yield file, name, *other


def _parts(places: Sequence[Path]) -> dict[str, list[Path]]:
    """The folders by part ("train", "val", "test"), if all of them are parts with label folders."""
    parts: dict[str, list[Path]] = {}
    if len(places) == 1 and not _folders(places[0])[0]:
        return {}  # a label of that name: of locomotives, say
    for place in places:
        match = _PART.fullmatch(place.name.lower())
        if match is None:
            return {}
        name = ("train", "val", "test")[(match.lastindex or 1) - 1]
        parts.setdefault(name, []).append(place)
    return parts


def _parted(folder: Path, parts: dict[str, list[Path]], left: list[Left]) -> LabelledPictures:
    """Use train for teaching, and val, else test, as held out."""
    seen = Visited(folder)
    read: dict[str, LabelledPictures] = {}
    for part, places in parts.items():
        inside: list[Path] = []
        for place in places:
            found, beside = _folders(place)
            _refuse_boxes(place, found)
            if not found:
                whole = _names([one for several in parts.values() for one in several])
                raise DatasetError(
                    "folder-layout",
                    f"{folder} looks like a data set in parts ({whole}), but {place} contains no label "
                    "folders; put the pictures of each label into a folder named after it",
                )
            inside += found
            left = left + beside
        read[part] = _classes(inside, [], seen)
    taught = read.get("train")
    judging = next((part for part in ("val", "test") if part in read), "")
    used = [part for part in ("train", judging) if part in read]
    labels = (taught or read[judging]).labels
    rows = [
        (name, part == judging, file)
        for part in used
        for file, name in zip(read[part].files, read[part].names, strict=True)
        if name in labels
    ]
    rows.sort(key=lambda row: row[:2])  # stable: the files of each keep their order
    left = left + [one for part in read for one in read[part].left]
    for part, pictures in read.items():
        for file, name in zip(pictures.files, pictures.names, strict=True):
            if part not in used or name not in labels:
                left.append(Left(file, "other-part"))
    return LabelledPictures(
        labels,
        tuple(file for _, _, file in rows),
        tuple(name for name, _, _ in rows),
        tuple(held for _, held, _ in rows),
        (_names(parts.get("train", ())), _names(parts.get(judging, ()))),
        tuple(left),
    )


def _refuse_boxes(folder: Path, places: Sequence[Path]) -> None:
    names = {place.name.lower() for place in places}
    if names & _BOXES[0] and names & _BOXES[1]:
        raise DatasetError(
            "folder-layout",
            f"{folder} is arranged for object detection, as for YOLO ({_names(places)}); here each label needs a "
            "folder named after it with its pictures",
        )


def _refuse_wrapping(folder: Path, places: Sequence[Path], left: Sequence[Left]) -> None:
    """Refuse a folder that contains only the intended folder, as many zip archives do."""
    inner, wrapped = folder, list(places)
    while len(wrapped) == 1 and not any(one.reason == "beside-labels" for one in left):
        inner = wrapped[0]
        wrapped, left = _folders(inner)
    if inner == folder or len(wrapped) < 2 or any(one.reason == "beside-labels" for one in left):
        return
    raise DatasetError(
        "folder-layout",
        (f"{folder} contains only the folder {inner.name!r}, which contains {_names(wrapped)}; give {inner}"),
    )


def _names(places: Sequence[Path]) -> str:
    return _list([place.name for place in places])


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
