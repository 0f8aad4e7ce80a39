"""Answers for the Teach page: recordings, photos from a phone, the region, and undo."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edge.answers import to_json
from edge.labels import clean, hidden
from edge.learner import Learner
from edge.picture.region import WHOLE, Region
from edge.serve.asked import BadRequest, body, desk, examples, field, posted
from edge.serve.desk import Stale
from edge.serve.uploads import FOLDER, Arrived, Uploads, receive


async def record(request: Request) -> Response:
    """Start recording a label."""
    asked = await body(request)
    label, here = field(asked, "label", str), desk(request)
    frame = field(asked, "frame", int) if asked.get("frame") is not None else None
    return JSONResponse(await here.engine.do(lambda learner: here.start(learner, label, frame)))


async def record_on(request: Request) -> Response:
    """Keep a recording running; the page sends this every second."""
    return JSONResponse(desk(request).keep_on(field(await body(request), "session", str)))


async def record_off(request: Request) -> Response:
    """End a recording."""
    session, here = field(await body(request), "session", str), desk(request)
    return JSONResponse(await here.engine.do(lambda _: here.finish(session)))


async def photo(request: Request) -> Response:
    """Receive a photo as the request's body, and teach it unless it has a flaw that the user should confirm."""
    asked, here = request.query_params, desk(request)
    label, name = clean(asked.get("label", "")), _name(asked.get("name", ""))
    session = clean(asked["session"]) if asked.get("session") else None
    path = await receive(request, here.home / FOLDER)
    try:
        return JSONResponse(await _uploads(request).teach(Arrived(path, label, name, session, ask=True)))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


async def keep(request: Request) -> Response:
    """Teach or drop a photo that had a flaw, as the user decided."""
    asked, here = await body(request), desk(request)
    upload, label = field(asked, "upload", str), clean(field(asked, "label", str))
    if not (upload.isalnum() and upload.isascii()):
        raise BadRequest("request-invalid", "'upload' is none of ours")
    path = here.home / FOLDER / upload
    if not path.is_file():
        raise Stale("page-outdated", "this photo is no longer here; choose it again")
    if not field(asked, "keep", bool):
        path.unlink(missing_ok=True)
        return JSONResponse({"stored": False})
    name, session = _name(str(asked.get("name", ""))), asked.get("session") or None
    session = clean(str(session)) if session else None
    return JSONResponse(await _uploads(request).teach(Arrived(path, label, name, session, ask=False)))


async def region(request: Request) -> Response:
    """Change the region of the picture that is classified."""
    asked, here = await body(request), desk(request)
    text, was = field(asked, "region", str), asked.get("was")

    def put(learner: Learner) -> Any:
        before = str(learner.region) if learner.region else None
        if was != before:
            raise Stale("page-outdated", "somebody else changed the part of the picture that is looked at; look again")
        others = learner.put_region(None if text == WHOLE else Region.parse(text))
        here.region_changed(learner)
        return {"region": str(learner.region) if learner.region else None, "others": others}

    return JSONResponse(await here.engine.do(put))


@posted
def forget(learner: Learner, asked: dict[str, Any]) -> Any:
    """Forget examples, if each still has the label that the page shows."""
    seen = examples(asked)
    unchanged(learner, seen)
    return to_json(learner.forget(seen))


def unchanged(learner: Learner, seen: dict[int, str]) -> None:
    """Check that examples are still what the page showed.

    Raises:
        Stale: an example was relabelled or forgotten meanwhile.
    """
    there = {e.id: e.label for e in learner.examples_among(list(seen))}
    gone = sum(number not in there for number in seen)
    moved = next((f"'{there[i]}'" for i, label in seen.items() if i in there and there[i] != label), "")
    if gone:
        raise Stale(
            "page-outdated",
            f"{gone} of these pictures {'is' if gone == 1 else 'are'} no longer here; the page shows it anew",
        )
    if moved:
        raise Stale("page-outdated", f"somebody else moved one of these pictures to {moved}; the page shows it anew")


def _uploads(request: Request) -> Uploads:
    found: Uploads = request.app.state.uploads
    return found


def _name(text: str) -> str:
    """Return a photo's file name without folders and unprintable characters."""
    last = text.replace("\\", "/").rpartition("/")[2]
    shown = "".join(c for c in last if not hidden(c))[:120].strip()
    return f"upload: {shown or 'photo'}"


ROUTES = [
    Route("/record", record, methods=["POST"]),
    Route("/record/on", record_on, methods=["POST"]),
    Route("/record/off", record_off, methods=["POST"]),
    Route("/photo", photo, methods=["POST"]),
    Route("/photo/keep", keep, methods=["POST"]),
    Route("/undo", forget, methods=["POST"]),
    Route("/region", region, methods=["POST"]),
]
