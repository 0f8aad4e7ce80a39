"""Answers for the Learn page: the examples, the accuracy, the generations, and a backup to download."""

import asyncio
import os
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from edge.answers import to_json
from edge.audit.findings import Gathered, gather, look_through, thumbnails
from edge.care.backup import backup
from edge.errors import LabelError, NotEnough
from edge.labels import clean
from edge.learner import Learner
from edge.serve.asked import BadRequest, body, desk, examples, field, posted
from edge.serve.desk import Stale
from edge.serve.teach import forget, unchanged
from edge.serve.uploads import FOLDER
from edge.serve.words import plain

T = TypeVar("T")
PAGE = 60  # examples listed at a time
NOT_ENOUGH = "Nothing was taught here yet."


async def listed(request: Request) -> Response:
    """List examples, newest first: all, those of one label, those before an id, or those with given ids."""
    asked = request.query_params
    label, before, wanted = asked.get("label"), _number(asked.get("before")), asked.get("ids", "")
    ids = [_number(part) for part in wanted.split(",")] if wanted else []

    def look(learner: Learner) -> Any:
        if ids:
            found = learner.examples_among(ids)[::-1]
            return {"examples": to_json(found), "count": len(found)}
        try:
            found = learner.newest_examples(label or None, before or None, PAGE)
            return {"examples": to_json(found), "count": learner.count_examples(label or None, before or None)}
        except LabelError:
            raise Stale("page-outdated", f"somebody else renamed or removed '{label}'; look again") from None

    return JSONResponse(await desk(request).engine.do(look))


async def thumbnail(request: Request) -> Response:
    """Serve an example's picture as the network saw it."""
    number = request.path_params["number"]

    def look(learner: Learner) -> bytes | None:
        return thumbnails(learner, learner.find_examples(number)).get(number)

    data = await desk(request).engine.do(look)
    if data is None:
        return JSONResponse({"error": "No picture is kept of this example.", "stale": False}, 404)
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


@posted
def move(learner: Learner, asked: dict[str, Any]) -> Any:
    """Change the label of examples."""
    seen, label = examples(asked), field(asked, "label", str)
    unchanged(learner, seen)
    said = [plain(line) for line in learner.beside(label)]
    return {"moved": to_json(learner.relabel(seen, label)), "said": said}


@posted
def forget_label(learner: Learner, asked: dict[str, Any]) -> Any:
    """Forget a label and all of its examples, if their number is still what the page showed."""
    label, count = field(asked, "label", str), field(asked, "count", int)
    if clean(label) not in learner.labels() or learner.count_examples(label) != count:
        raise Stale("page-outdated", f"somebody taught or moved pictures of '{label}' meanwhile; look again")
    return to_json(learner.forget(label=label))


@posted
def rename(learner: Learner, asked: dict[str, Any]) -> Any:
    """Rename a label, or merge it into another."""
    old, new, merge = field(asked, "old", str), field(asked, "new", str), field(asked, "merge", bool)
    names = set(learner.labels())
    if clean(old) not in names:
        raise Stale("page-outdated", f"somebody else renamed or removed '{old}'; look again")
    if not merge and clean(new) in names - {clean(old)}:
        return {"exists": True, "old": old, "new": clean(new)}
    said = [plain(line) for line in learner.beside(new, leaving=clean(old))]
    return {**to_json(learner.rename(old, new, merge)), "said": said}


@posted
def retrain(learner: Learner, asked: dict[str, Any]) -> Any:
    """Fit a new head; the answer is that of `edge retrain`, plus the generation that was in use before."""
    force = field(asked, "force", bool)
    before = learner.status()
    made = to_json(learner.retrain(force=force))
    old = {"loo_accuracy": before.loo_accuracy, "loo_interval": before.loo_interval, "scope": before.scope}
    for name in ("refusal", "note", "advice", "unknown_note"):
        made[name] = plain(made[name]) if made[name] else ""
    return {**made, "before": to_json({"generation": before.generation, **old})}


async def history(request: Request) -> Response:
    """List the generations, newest first."""
    found = await desk(request).engine.do(lambda learner: to_json(learner.history()[::-1]))
    return JSONResponse([{**one, "refusal": plain(one["refusal"]) if one["refusal"] else ""} for one in found])


@posted
def rollback(learner: Learner, asked: dict[str, Any]) -> Any:
    """Go back to an earlier generation, unless the current one has changed since the page was loaded."""
    generation, serving = field(asked, "generation", int), field(asked, "serving", int)
    there = learner.serving().generation
    if there != serving:
        raise Stale("page-outdated", f"generation {there} answers by now; look again")
    return to_json(learner.rollback(generation))


async def findings(request: Request) -> Response:
    """Find problems in the examples, as `edge audit` does; the result is kept until the home changes.

    The examples are read in the learner's thread. The rest takes seconds for thousands of examples, so it runs in
    another thread, one at a time, while the camera's frames continue to be classified.
    """
    here, state = desk(request), request.app.state

    def read(learner: Learner) -> Any:
        version = learner.version()
        if state.audited is not None and state.audited[0] == version:
            return None
        try:
            return version, gather(learner)
        except NotEnough:
            return version, None

    async with state.auditing:
        gathered = await here.engine.do(read)
        if gathered is not None:
            state.audited = gathered[0], await _beside(lambda: _look_through(gathered[1]))
    return JSONResponse(state.audited[1])


async def _beside(work: Callable[[], T]) -> T:
    """Run some work in a daemon thread; a server that stops does not wait for it."""
    found: Future[T] = Future()
    found.set_running_or_notify_cancel()  # from now on it cannot be cancelled

    def run() -> None:
        try:
            found.set_result(work())
        except Exception as error:
            found.set_exception(error)

    threading.Thread(target=run, name="audit", daemon=True).start()
    return await asyncio.wrap_future(found)


def _look_through(gathered: Gathered | None) -> Any:
    if gathered is None:
        return {"examples": 0, "note": NOT_ENOUGH}
    try:
        found = to_json(look_through(gathered).answer)
    except NotEnough as error:
        return {"examples": 0, "note": plain(str(error))}
    found["note"] = plain(found["note"]) if found["note"] else ""
    return found


async def take_away(request: Request) -> Response:
    """Write a backup and send it; the file is deleted afterwards."""
    here = desk(request)
    path: Path = here.home / f"download-{secrets.token_hex(6)}.backup"

    def act(learner: Learner) -> Any:
        return backup(learner, path), learner.now()[:10]

    _, day = await here.engine.do(act)
    name = f"edge-{day}.backup"
    gone = BackgroundTask(path.unlink, missing_ok=True)
    return FileResponse(path, filename=name, media_type="application/octet-stream", background=gone)


async def fleet(request: Request) -> Response:
    """Return what this device last did in its fleet; without `url` if it belongs to none."""
    found = await desk(request).engine.do(lambda learner: learner.fleet())
    if found is None:
        return JSONResponse({"url": _shown(None)})
    return JSONResponse({**to_json(found), "url": _shown(found.url), "why": plain(found.why) if found.why else ""})


def _shown(last: str | None) -> str | None:
    """Return the fleet's URL as the page sees it: that of the environment, which may hold a secret, by its name."""
    return "$EDGE_FLEET" if os.environ.get("EDGE_FLEET") else last


async def take_part(request: Request) -> Response:
    """Contribute or follow in another thread, so that a slow network does not hold up the camera."""
    shown, what, here = field(await body(request), "url", str), request.url.path.rpartition("/")[2], desk(request)

    def act() -> Any:
        with Learner(here.home) as learner:
            noted = learner.fleet()
            last = noted.url if noted else None
            if shown != _shown(last):
                raise Stale("page-outdated", "this device's fleet is another by now; look again")
            url = os.environ.get("EDGE_FLEET") or last or ""
            return to_json(learner.contribute(url) if what == "contribute" else learner.follow(url))

    found = await asyncio.to_thread(act)
    return JSONResponse({**found, "why": plain(found["why"])} if found.get("why") else found)


def tidy(home: Path) -> None:
    """Delete the leftovers of a server that was killed: downloads and incomplete uploads."""
    for path in (*home.glob("download-*.backup"), *(home / FOLDER).glob("*")):
        if path.is_file() and os.access(path, os.W_OK):
            path.unlink(missing_ok=True)


def _number(text: str | None) -> int:
    if text is None or not text:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BadRequest("request-invalid", "not a number")
    return int(text)


ROUTES = [
    Route("/examples", listed),
    Route("/examples/{number:int}.jpg", thumbnail),
    Route("/examples/move", move, methods=["POST"]),
    Route("/examples/forget", forget, methods=["POST"]),
    Route("/labels/forget", forget_label, methods=["POST"]),
    Route("/labels/rename", rename, methods=["POST"]),
    Route("/retrain", retrain, methods=["POST"]),
    Route("/history", history),
    Route("/rollback", rollback, methods=["POST"]),
    Route("/findings", findings),
    Route("/backup", take_away),
    Route("/fleet", fleet),
    Route("/fleet/contribute", take_part, methods=["POST"]),
    Route("/fleet/follow", take_part, methods=["POST"]),
]
