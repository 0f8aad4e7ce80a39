"""Validates requests before they are used, and turns answers and errors into responses."""

import functools
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from edge.errors import EdgeError, HomeBusy
from edge.learner import Learner
from edge.serve.desk import Desk, Stale
from edge.serve.engine import Busy, Ended
from edge.serve.words import plain

T = TypeVar("T")
MOST = 256_000  # bytes of a JSON body


class BadRequest(EdgeError, ValueError):
    """A malformed request, which none of our pages would send."""


class TooLarge(EdgeError, ValueError):
    """A photo that is larger than the limit or than the free space on the disk."""


_STATUS = {Stale: 409, BadRequest: 400, TooLarge: 413, Busy: 503, Ended: 503, HomeBusy: 503, ClientDisconnect: 400}


def desk(request: Request) -> Desk:
    """Return the state shared by the pages."""
    found: Desk = request.app.state.desk
    return found


async def body(request: Request) -> dict[str, Any]:
    """Read a request's JSON object.

    Raises:
        BadRequest: the body is not a JSON object, or is larger than `MOST`.
    """
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MOST:
            raise BadRequest("request-invalid", f"the request has more than {MOST:,} bytes")
    try:
        found = json.loads(bytes(data))
    except (ValueError, RecursionError):
        raise BadRequest("request-invalid", "the request is not JSON") from None
    if not isinstance(found, dict):
        raise BadRequest("request-invalid", "the request is not a JSON object")
    return found


def field(asked: dict[str, Any], name: str, kind: type[T]) -> T:
    """Return a field of a request.

    Raises:
        BadRequest: the field is missing or has another type.

    >>> field({"label": "cup"}, "label", str)
    'cup'
    """
    value = asked.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadRequest("request-invalid", f"'{name}' must be {kind.__name__}")
    return value


def examples(asked: dict[str, Any]) -> dict[int, str]:
    """Return the ids of the examples in a request, each with the label that the page showed.

    Raises:
        BadRequest: the examples are missing or malformed.

    >>> examples({"examples": [{"id": 3, "label": "cup"}]})
    {3: 'cup'}
    """
    found = field(asked, "examples", list)
    if not found or not all(isinstance(one, dict) for one in found):
        raise BadRequest("request-invalid", "'examples' must be a list of objects")
    return {field(one, "id", int): field(one, "label", str) for one in found}


def posted(act: Callable[[Learner, dict[str, Any]], Any]) -> Callable[[Request], Awaitable[Response]]:
    """Make a route of a function that is given the learner, in its thread, and the request's JSON object."""

    @functools.wraps(act)
    async def route(request: Request) -> Response:
        asked = await body(request)
        return JSONResponse(await desk(request).engine.do(lambda learner: act(learner, asked)))

    return route


async def failed(request: Request, error: Exception) -> Response:
    """Turn an error into a response in plain words."""
    usual = 422 if isinstance(error, EdgeError) else 500
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), usual)
    if status == 500:
        request.app.state.say(f"error: {request.url.path}: {type(error).__name__}: {error}")
    told = {"error": "The device could not do that.", "stale": status == 409}
    if isinstance(error, EdgeError):
        told |= {"error": plain(str(error)), "code": error.code}
    return JSONResponse(told, status, {"Retry-After": "2"} if status == 503 else {})
