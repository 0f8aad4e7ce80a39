"""The web application: routes of the pages, their static files, the live state, logging in, and the other modules.

Links within the pages are relative, so they also work under a proxy's path, such as Home Assistant's.
"""

import asyncio
import hashlib
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import edge
from edge.answers import to_json
from edge.errors import EdgeError
from edge.learner import Learner
from edge.picture.frame import Frame
from edge.serve import learn, teach
from edge.serve.asked import body, desk, failed, field
from edge.serve.desk import Desk, Stale
from edge.serve.guard import PAGES, Guard
from edge.serve.password import Stored, Tries
from edge.serve.review import Waiting
from edge.serve.uploads import Uploads

STATIC = Path(__file__).parent / "static"
HOLD = 2.0  # seconds that a viewer waits for the next frame before it gets an empty answer
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
NAMES = {"/": "watch", "/teach": "teach", "/review": "review", "/learn": "learn"}


async def page(request: Request) -> Response:
    """Serve one of the pages: its own part inside the frame that all pages share."""
    name = NAMES.get(request.url.path, "watch")
    shell = (STATIC / "page.html").read_text("utf-8").replace("{{title}}", name.capitalize()).replace("{{name}}", name)
    link = f'<a href="{"./" if name == "watch" else name}"'
    shell = shell.replace(f"{link}>", f'{link} aria-current="page">')
    return _given(request, shell.replace("{{main}}", (STATIC / f"{name}.html").read_text("utf-8")).encode(), "html")


async def login_page(request: Request) -> Response:
    """Serve the page that asks for the password."""
    return _given(request, (STATIC / "login.html").read_bytes(), "html")


async def static(request: Request) -> Response:
    """Serve a style sheet, a script or the browser tab's icon."""
    path = STATIC / request.path_params["name"]
    if path.parent != STATIC or path.suffix not in (".css", ".js", ".svg") or not path.is_file():
        raise HTTPException(404)
    return _given(request, path.read_bytes(), path.suffix[1:])


def _given(request: Request, data: bytes, kind: str) -> Response:
    tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=TYPES[kind], headers=headers)


async def now(request: Request) -> Response:
    """Return the current state of the camera and the home."""
    here = desk(request)
    state = here.now(look=request.query_params.get("look") == "1")
    return JSONResponse({**state, "login": request.app.state.stored.get() is not None})


async def frame(request: Request) -> Response:
    """Serve the first frame newer than the viewer's; 204 if there is none yet."""
    live, given = desk(request).live, request.query_params.get("after", "0")
    after = int(given) if given.isascii() and given.isdecimal() and len(given) < 10 else 0
    shown = await live.after(after, HOLD)
    if shown is None:
        return Response(status_code=204)
    data = await asyncio.to_thread(live.picture, shown)
    headers = {"Edge-Frame": str(shown.number), "Edge-Time": f"{shown.frame.time:.3f}"}
    return Response(data, media_type="image/jpeg", headers=headers)


async def why(request: Request) -> Response:
    """Classify the newest frame and list the taught pictures nearest to it, as `edge classify --explain` does."""
    here = desk(request)

    def look(learner: Learner) -> Any:
        shown = here.live.shown
        if shown is None:
            raise Stale("page-outdated", "there is no picture from the camera yet")
        name = Frame(shown.frame.name, shown.frame.data, shown.frame.time)
        return to_json(next(iter(learner.classify_each([name], explain=True))))

    return JSONResponse(await here.engine.do(look))


async def changes(request: Request) -> Response:
    """List the latest changes of the answer, newest first."""
    return JSONResponse([{"number": one.number, **one.seen} for one in list(desk(request).live.changes)])


async def change(request: Request) -> Response:
    """Serve the picture of one change."""
    number = request.path_params["number"]
    for one in list(desk(request).live.changes):
        if one.number == number:
            return Response(one.picture, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})
    raise HTTPException(404)


async def healthz(request: Request) -> Response:
    """Report that the server and the learner's thread are running."""
    thread = request.app.state.thread
    well = thread is None or thread.is_alive()
    return JSONResponse({"ok": well, "version": edge.__version__}, 200 if well else 503)


async def login(request: Request) -> Response:
    """Check the password, one attempt at a time and with a limit on their number."""
    state, asked = request.app.state, await body(request)
    given, address = field(asked, "password", str), request.client.host if request.client else ""
    password = state.stored.get()
    if password is None:
        return JSONResponse({"ok": True})
    async with state.trying:
        wait = state.tries.wait(address, time.monotonic())
        if wait:
            text = f"Too many wrong passwords; try again in {wait:.0f} seconds."
            return JSONResponse({"error": text}, 429, {"Retry-After": f"{wait + 1:.0f}"})
        if not await asyncio.to_thread(password.fits, given):
            state.tries.failed(address, time.monotonic())
            return JSONResponse({"error": "That is not the password."}, 403)
    response = JSONResponse({"ok": True})
    response.set_cookie(
        password.cookie_name,
        password.cookie(time.time()),
        max_age=86_400 * 30,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


async def logout(request: Request) -> Response:
    """Delete the browser's cookie."""
    response, password = JSONResponse({"ok": True}), request.app.state.stored.get()
    if password is not None:
        response.delete_cookie(password.cookie_name, httponly=True, samesite="strict")
    return response


async def _http(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse({"error": "There is nothing at this address.", "stale": False}, status)


def build(
    desk: Desk,
    stored: Stored,
    hosts: Collection[str] = (),
    needs_password: bool = False,
    only_from: str | None = None,
) -> Starlette:
    """Make the application.

    Args:
        hosts, needs_password, only_from: as in `Guard`.
    """
    pages, waiting = [Route(path, page) for path in PAGES], Waiting(desk)
    app = Starlette(
        routes=[
            *pages,
            Route("/login", login_page),
            Route("/static/{name}", static),
            Route("/now", now),
            Route("/frame", frame),
            Route("/why", why),
            Route("/changes", changes),
            Route("/changes/{number:int}.jpg", change),
            Route("/healthz", healthz),
            Route("/login", login, methods=["POST"]),
            Route("/logout", logout, methods=["POST"]),
            *teach.ROUTES,
            *waiting.routes(),
            *learn.ROUTES,
        ],
        middleware=[Middleware(Guard, stored=stored, hosts=hosts, needs_password=needs_password, only_from=only_from)],
        exception_handlers={
            EdgeError: failed,
            ClientDisconnect: failed,
            HTTPException: _http,
            Exception: failed,
        },
    )
    app.router.redirect_slashes = False
    app.state.desk, app.state.stored, app.state.tries = desk, stored, Tries()
    app.state.trying, app.state.auditing = asyncio.Lock(), asyncio.Lock()
    app.state.uploads = Uploads(desk)
    desk.idle.append(waiting.look)
    app.state.audited = app.state.thread = None
    return app
