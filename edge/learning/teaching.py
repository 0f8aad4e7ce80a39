"""Store pictures as examples. A picture is identified by the SHA-256 of its file: taught twice, it is stored once."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from edge.answers import Skipped, Taught, TaughtFolders
from edge.errors import ImageError
from edge.home.examples import Embedded, Example
from edge.home.state import Home
from edge.labels import clean
from edge.learning import correct
from edge.learning.answering import Embed, skipped
from edge.learning.domain_check import DomainCheck
from edge.network import photos
from edge.network.photos import Photo
from edge.picture.classes import labelled, refuse_labels
from edge.picture.count import Left, count, left_of, together
from edge.picture.find import find
from edge.picture.frame import Frame, Picture
from edge.system.filename import stored

FEW = 4  # pictures up to which each is asked about
BATCH = 64  # pictures taught a transaction: a power cut loses at most these
Progress = Callable[[int, int], None] | None


def teach(
    home: Home,
    embed: Embed,
    label: str,
    given: Sequence[Picture],
    session: str | None,
    progress: Progress,
    held_out: bool,
    needed: Collection[str] = (),
) -> Taught:
    """As `Learner.teach_each`; of the pictures that are `needed`, by name, one that cannot be read raises its error."""
    label, store = clean(label), home.store
    files: list[Picture] = []
    left: list[Left] = []
    for path in given:
        if isinstance(path, Frame):
            files.append(path)
            continue
        found = find([path])
        if path.is_dir():
            refuse_labels(path, found.files, label, store.labels().values())
        files += found.files
        left += found.left
    return _teach(home, embed, label, files, left, session, progress, held_out, needed)


def teach_seen(home: Home, label: str, frame: Frame, photo: Photo, session: str | None) -> Taught:
    """As `Learner.teach_each` of one frame that was embedded already, with its look."""

    def seen(
        files: Sequence[Picture], known: Collection[str] = (), look: bool = False, crops: bool = False
    ) -> Iterator[Photo]:
        return iter([photo])

    return _teach(home, seen, clean(label), [frame], (), session, None, False)


def teach_folders(
    home: Home, embed: Embed, folder: Path, session: str | None, progress: Progress, held_out: bool
) -> TaughtFolders:
    """As `Learner.teach_folders`."""
    found = labelled(folder)
    parts: dict[tuple[str, bool], list[Picture]] = {}
    for file, label, held in zip(found.files, found.names, found.held, strict=True):
        parts.setdefault((label, held or held_out), []).append(file)
    taught: list[Taught] = []
    for (label, held), files in parts.items():
        before = sum(one.files.seen for one in taught)

        def step(done: int, _: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, len(found.files))

        taught.append(_teach(home, embed, label, files, (), session, step, held))
    counted = together([*(one.files for one in taught), count(0, found.left)])
    contradictions = tuple(Skipped(str(one.path), one.detail) for one in found.contradictions)
    return TaughtFolders(str(folder), found.layout, tuple(taught), contradictions, counted)


def _teach(
    home: Home,
    embed: Embed,
    label: str,
    files: Sequence[Picture],
    left: Sequence[Left],
    session: str | None,
    progress: Progress,
    held_out: bool,
    needed: Collection[str] = (),
) -> Taught:
    start = time.perf_counter()
    beside = correct.beside(home, label)  # before it is a label here
    first_of = {e.image: e for e in _taught_before(home, files)}
    new: set[str] = set()
    taught: list[int] = []
    known: list[Skipped] = []
    unreadable: list[Skipped] = []
    failed: ImageError | None = None  # of a picture that the caller needs
    batch: list[Embedded] = []
    check = DomainCheck(home, label)
    for done, photo in enumerate(embed(files, first_of.keys(), look=True, crops=home.keeps_crops), 1):
        check.add(photo)
        if photo.error is not None:
            unreadable.append(skipped(photo))
            failed = failed or (photo.error if str(photo.path) in needed else None)
        elif photo.embedding is None:
            known.append(Skipped(str(photo.path), _known(first_of[photo.image], label), "known"))
        elif photo.image in new:
            reason = f"the same picture as another one, taught as '{label}'"
            known.append(Skipped(str(photo.path), reason, "copy"))
        else:
            new.add(photo.image)
            source = _source(files[done - 1])
            batch.append(Embedded(label, photo.embedding, photo.image, source, photo.look, photo.crop))
        if len(batch) == BATCH:
            taught += _store(home, batch, session, held_out)
            batch.clear()
        if progress is not None:
            progress(done, len(files))
    taught += _store(home, batch, session, held_out)
    if failed is not None:
        others = f"; the other {len(taught):,} were stored" if len(files) > 1 else ""
        raise ImageError(failed.code, f"{failed}{others}", failed.reason)
    return Taught(
        label,
        tuple(taught),
        held_out,
        tuple(known),
        tuple(unreadable),
        1000 * (time.perf_counter() - start),
        (*(beside if taught else ()), *check.lines()),
        count(len(taught), [*left, *left_of(unreadable), *left_of(known)]),
    )


def _taught_before(home: Home, files: Sequence[Picture]) -> list[Example]:
    """The examples of these pictures; of many files all examples, so that no file is read only to know its SHA-256."""
    store = home.store
    if len(files) > FEW:
        return store.examples()
    images = []
    for file in files:
        with suppress(ImageError):  # it is told when the file is embedded
            images.append(sha256(file.data).hexdigest() if isinstance(file, Frame) else photos.digest(file))
    return store.examples(images=images)


def _store(home: Home, batch: Sequence[Embedded], session: str | None, held_out: bool) -> list[int]:
    if not batch:
        return []
    store = home.store
    with store.transaction():
        fingerprint, now = home.info.fingerprint, home.now()
        return [store.add_example(item, fingerprint, session, now, held_out) for item in batch]


def _known(example: Example, label: str) -> str:
    if example.label == label:
        return f"already stored, as example {example.id}"
    return f"already stored as '{example.label}'; to change it, run: edge relabel {label} {example.id}"


def _source(path: Picture) -> str:
    return stored(path.name if isinstance(path, Frame) else str(path.absolute()))
