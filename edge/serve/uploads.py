"""Photos uploaded from a phone: each is streamed to a file, and they are taught in the order in which they arrive.

The learner's thread teaches all photos in the queue with one commit, because an SD card takes as long to sync one photo
as several. Each upload is acknowledged after that commit. One photo is decoded at a time.
"""

import asyncio
import hashlib
import os
import secrets
import shutil
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect, Request

from edge.answers import to_json
from edge.camera.exposure import blank
from edge.home.examples import Example
from edge.learner import Learner
from edge.learning.teaching import teach_seen
from edge.network.photos import Photo
from edge.picture import preprocess
from edge.picture.frame import Frame
from edge.serve.asked import BadRequest, TooLarge
from edge.serve.desk import Desk, complaints_of
from edge.serve.words import plain

FOLDER = "incoming"  # folder in the home for uploads in progress
LARGEST = 40_000_000  # bytes of one photo
SPARE = 50_000_000  # bytes that always stay free on the disk
PATIENCE = 30.0  # seconds without a byte after which an upload is given up
WAITING = 100  # flawed photos that wait for the user's decision; older ones are dropped
TOGETHER, TOGETHER_BYTES = 8, 16_000_000  # most photos per commit, and most bytes, as they are in memory
BLANK = "The picture shows nothing but one colour: is the lens covered, or is it dark?"


@dataclass(eq=False)
class Arrived:
    """A photo that has arrived: its file, how to teach it, and, once that is done, the answer."""

    path: Path  # the file; it is deleted unless the user has to confirm the photo first
    # label, name, session: as in `Learner.teach_each`
    label: str
    name: str
    session: str | None
    ask: bool  # whether the user must confirm a picture with a flaw before it is stored
    answer: Any = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether the photo was processed."""
        return self.answer is not None or self.error is not None


class Uploads:
    """The queue of photos for the learner."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._waiting: deque[Arrived] = deque()

    async def teach(self, photo: Arrived) -> Any:
        """Teach a photo along with the others in the queue; returns its answer once all are on the disk.

        Raises:
            ImageError: the photo cannot be read.
            HomeError: the home cannot be written; none of the photos in the queue is stored.
        """
        self._waiting.append(photo)
        try:
            return await self._desk.engine.do(lambda learner: self._take(learner, photo))
        finally:
            self._waiting.remove(photo)

    def _take(self, learner: Learner, photo: Arrived) -> Any:
        """Return a photo's answer; if it was not taught yet, teach it and the photos behind it in the queue."""
        if not photo.done:
            self._teach(learner, self._group(photo))
        if photo.error is not None:
            raise photo.error
        return photo.answer

    def _group(self, first: Arrived) -> list[Arrived]:
        group, size = [first], 0
        for one in [one for one in list(self._waiting) if one is not first and not one.done]:
            with suppress(OSError):  # reported when the photo is read
                size += one.path.stat().st_size
            if len(group) == TOGETHER or size > TOGETHER_BYTES:
                break
            group.append(one)
        return group

    def _teach(self, learner: Learner, group: list[Arrived]) -> None:
        seen: list[tuple[Arrived, Frame, Photo]] = []
        for one in group:
            try:
                frame = Frame(one.name, preprocess.read(one.path), time.time())
                photo = self._look(learner, one, frame)
            except Exception as error:  # one bad photo must not fail the others
                one.error = error
            else:
                if photo is not None:
                    seen.append((one, frame, photo))
        try:
            with learner.together():
                answers = [_store(learner, one, frame, photo) for one, frame, photo in seen]
        except Exception as error:
            for one, _, _ in seen:
                one.error = error
        else:
            for (one, _, _), answer in zip(seen, answers, strict=True):
                one.answer = answer
        for one in group:
            if one.answer is not None and "upload" not in one.answer:
                one.path.unlink(missing_ok=True)

    def _look(self, learner: Learner, one: Arrived, frame: Frame) -> Photo | None:
        """Embed a photo; None if it has its answer already: it is a duplicate, or the user must confirm it first."""
        known = learner.example_of(hashlib.sha256(frame.data).hexdigest())
        if known is not None:
            one.answer = _known(known, one.label)
            return None
        empty = one.ask and blank(frame.data, frame.name, learner.region, learner.info.fit)
        said = [BLANK] if empty else []
        if not said:
            photo = next(iter(learner.embed([frame], look=True, crops=learner.keeps_crops)))
            if photo.error is not None:
                raise photo.error
            said = complaints_of(self._desk.looks(learner), photo) if one.ask else []
            if not said:
                return photo
        one.answer = {"stored": False, "upload": one.path.name, "said": said}
        return None


def _store(learner: Learner, one: Arrived, frame: Frame, photo: Photo) -> dict[str, Any]:
    """Teach an embedded photo, and return its answer; part of the caller's transaction."""
    known = learner.example_of(photo.image)  # the same photo was sent twice
    if known is not None:
        return _known(known, one.label)
    taught = teach_seen(learner, one.label, frame, photo, one.session)
    said = [plain(line) for line in taught.complaints] if one.ask else []  # otherwise the user has seen them
    return {"stored": True, **to_json(taught), "said": said}


def _known(example: Example, label: str) -> dict[str, Any]:
    where = "with this label" if example.label == label else f"as “{example.label}”"
    about = {"example": example.id, "label": example.label}
    return {"stored": False, "known": about, "said": [f"Already taught {where}."]}


async def receive(request: Request, folder: Path) -> Path:
    """Stream a photo into a file; an upload that is cut short or too large leaves nothing behind.

    Raises:
        TooLarge: the photo is larger than the limit or than the free space.
        BadRequest: the photo is empty.
    """
    declared = request.headers.get("content-length", "0")
    size = int(declared) if declared.isdecimal() and len(declared) < 16 else 0
    if size > LARGEST:
        raise TooLarge(
            "upload-too-large", f"the photo has {size / 1e6:.0f} MB, at most {LARGEST / 1e6:.0f} MB are taken"
        )
    folder.mkdir(mode=0o700, exist_ok=True)
    if shutil.disk_usage(folder).free < SPARE + size:
        raise TooLarge("upload-too-large", "the device's card is full; free some space first")
    _tidy(folder)
    path = folder / secrets.token_hex(12)
    done = 0
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            async for chunk in _patiently(request):
                done += len(chunk)
                if done > LARGEST:
                    raise TooLarge("upload-too-large", f"the photo has more than {LARGEST / 1e6:.0f} MB")
                file.write(chunk)
        if not done or (size and done != size):
            raise BadRequest("request-invalid", "the photo did not arrive as a whole; send it again")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


async def _patiently(request: Request) -> Any:
    stream = request.stream().__aiter__()
    while True:
        try:
            yield await asyncio.wait_for(stream.__anext__(), PATIENCE)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise ClientDisconnect from None


def _tidy(folder: Path) -> None:
    """Drop the oldest photos that wait for the user's decision, if there are too many."""
    waiting = sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.stat().st_mtime)
    for path in waiting[:-WAITING]:
        path.unlink(missing_ok=True)
