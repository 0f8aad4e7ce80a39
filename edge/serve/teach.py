"""Answers for the Teach page: recordings, photos from a phone, the region, and undo."""

import asyncio
import hashlib
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from edge.answers import to_json
from edge.camera.exposure import blank
from edge.errors import ImageError
from edge.labels import clean, hidden
from edge.learner import Learner
from edge.picture import preprocess
from edge.picture.frame import Frame
from edge.picture.region import WHOLE, Region
from edge.serve.asked import BadRequest, TooLarge, answer, body, desk, examples, field
from edge.serve.desk import Desk, Stale, complaints
from edge.serve.words import plain

FOLDER = "incoming"  # in the home: photos that are on their way
LARGEST = 40_000_000  # bytes of one photo
SPARE = 50_000_000  # bytes of the disk that are never filled
PATIENCE = 30.0  # seconds without a byte after which an upload is given up
WAITING = 100  # photos with a complaint that wait for an answer; older ones are dropped
BLANK = "The picture shows nothing but one colour: is the lens covered, or is it dark?"


async def record(request: Request) -> Response:
    """Begin to record a label."""
    asked = await body(request)
    label, here = field(asked, "label", str), desk(request)
    frame = field(asked, "frame", int) if asked.get("frame") is not None else None
    return answer(await here.engine.do(lambda learner: here.start(learner, label, frame)))


async def record_on(request: Request) -> Response:
    """Go on recording: sent every second by who records."""
    return answer(desk(request).keep_on(field(await body(request), "session", str)))


async def record_off(request: Request) -> Response:
    """End a recording."""
    session, here = field(await body(request), "session", str), desk(request)
    return answer(await here.engine.do(lambda _: here.finish(session)))


async def photo(request: Request) -> Response:
    """Take one photo as the request's body, look at it, and teach it unless there is something to ask first."""
    asked, here = request.query_params, desk(request)
    label, name = clean(asked.get("label", "")), _name(asked.get("name", ""))
    session = clean(asked["session"]) if asked.get("session") else None
    path = await receive(request, here.home / FOLDER)
    try:
        result = await here.engine.do(lambda learner: _teach(here, learner, path, label, name, session, ask=True))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return answer(result)


async def keep(request: Request) -> Response:
    """Teach a photo that had a complaint, or drop it."""
    asked, here = await body(request), desk(request)
    upload, label = field(asked, "upload", str), clean(field(asked, "label", str))
    if not (upload.isalnum() and upload.isascii()):
        raise BadRequest("request-invalid", "'upload' is none of ours")
    path = here.home / FOLDER / upload
    if not path.is_file():
        raise Stale("page-outdated", "this photo is no longer here; choose it again")
    if not field(asked, "keep", bool):
        path.unlink(missing_ok=True)
        return answer({"stored": False})
    name, session = _name(str(asked.get("name", ""))), asked.get("session") or None
    session = clean(str(session)) if session else None
    return answer(await here.engine.do(lambda learner: _teach(here, learner, path, label, name, session, ask=False)))


async def undo(request: Request) -> Response:
    """Forget what was just taught: examples by number, as long as they have the label that the page shows."""
    seen, here = examples(await body(request)), desk(request)
    return answer(await here.engine.do(lambda learner: forget(learner, seen)))


async def region(request: Request) -> Response:
    """Look at another part of the picture from now on."""
    asked, here = await body(request), desk(request)
    text, was = field(asked, "region", str), asked.get("was")

    def put(learner: Learner) -> Any:
        before = str(learner.region) if learner.region else None
        if was != before:
            raise Stale("page-outdated", "somebody else changed the part of the picture that is looked at; look again")
        others = learner.put_region(None if text == WHOLE else Region.parse(text))
        here.region_changed(learner)
        return {"region": str(learner.region) if learner.region else None, "others": others}

    return answer(await here.engine.do(put))


def forget(learner: Learner, seen: dict[int, str]) -> Any:
    """Forget examples, if each is still what the page showed.

    Raises:
        Stale: one is not.
        NotEnough: fewer than two labels would be left.
    """
    unchanged(learner, seen)
    return to_json(learner.forget([str(number) for number in seen]))


def unchanged(learner: Learner, seen: dict[int, str]) -> None:
    """Refuse to change examples that are not what the page showed.

    Raises:
        Stale: one was moved or forgotten meanwhile.
    """
    there = {e.id: e.label for e in learner.list_examples() if e.id in seen}
    gone = sum(number not in there for number in seen)
    moved = next((f"'{there[i]}'" for i, label in seen.items() if i in there and there[i] != label), "")
    if gone:
        raise Stale(
            "page-outdated",
            f"{gone} of these pictures {'is' if gone == 1 else 'are'} no longer here; the page shows it anew",
        )
    if moved:
        raise Stale("page-outdated", f"somebody else moved one of these pictures to {moved}; the page shows it anew")


async def receive(request: Request, folder: Path) -> Path:
    """Stream a photo into a file of its own; one that is cut short or too large leaves nothing.

    Raises:
        TooLarge: it, or the disk's room, is exceeded.
        BadRequest: it is empty.
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


def _teach(here: Desk, learner: Learner, path: Path, label: str, name: str, session: str | None, ask: bool) -> Any:
    """Teach a photo that has arrived; in the learner's thread. Asked about first, it stays where it is."""
    data = preprocess.read(path)
    frame = Frame(name, data, time.time())
    image = hashlib.sha256(data).hexdigest()
    known = learner.example_of(image)
    if known is not None:
        path.unlink(missing_ok=True)
        where = "with this label" if known.label == label else f"as '{known.label}'"
        return {
            "stored": False,
            "known": {"example": known.id, "label": known.label},
            "said": [f"Taught already {where}."],
        }
    if ask:
        said = [BLANK] if blank(data, name, learner.region) else complaints(here.looks(learner), learner, frame)
        if said:
            return {"stored": False, "upload": path.name, "said": said}
    taught = learner.teach_each(label, [frame], session)
    path.unlink(missing_ok=True)
    if taught.unreadable:
        raise ImageError("picture-damaged", taught.unreadable[0].reason)
    said = [plain(line) for line in taught.complaints] if ask else []  # else they were shown before
    return {"stored": True, **to_json(taught), "said": said}


def _name(text: str) -> str:
    """What a photo is called: the last part of its name, without what is not printed."""
    last = text.replace("\\", "/").rpartition("/")[2]
    shown = "".join(c for c in last if not hidden(c))[:120].strip()
    return f"upload: {shown or 'photo'}"


def _tidy(folder: Path) -> None:
    """Drop the oldest photos that wait for an answer, if there are many."""
    waiting = sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.stat().st_mtime)
    for path in waiting[:-WAITING]:
        path.unlink(missing_ok=True)


ROUTES = [
    Route("/record", record, methods=["POST"]),
    Route("/record/on", record_on, methods=["POST"]),
    Route("/record/off", record_off, methods=["POST"]),
    Route("/photo", photo, methods=["POST"]),
    Route("/photo/keep", keep, methods=["POST"]),
    Route("/undo", undo, methods=["POST"]),
    Route("/region", region, methods=["POST"]),
]
