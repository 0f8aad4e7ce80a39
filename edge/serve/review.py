"""Answers for the Review page: labels the frames that were saved as uncertain, one at a time or many at once.

While the page is open and the learner's thread is idle, the network embeds the waiting frames one by one. Frames that
are nearly identical are shown as one group.
"""

import itertools
import re
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edge.answers import to_json
from edge.audit.suspects import near_duplicates
from edge.labels import clean
from edge.learner import Learner
from edge.learning.answering import Answering, guesses
from edge.picture import preprocess
from edge.picture.find import saved
from edge.serve.asked import BadRequest, field, posted
from edge.serve.desk import Desk, Stale
from edge.serve.words import plain
from edge.watch.review import Naming, Review, take_back

MOST = 300  # newest frames that are listed
OPEN = 10.0  # seconds after a request for which the page counts as open
USELESS = "useless"  # the folder of discarded frames
KEPT = 100  # newest discarded frames that are kept
STEPS = 50  # steps that can be undone
_NAME = re.compile(r"uncertain-[0-9A-Za-z.]{1,60}")


class _Step(NamedTuple):
    """What one tap did, for undo: labelled frames, and discarded files as (from, to)."""

    namings: tuple[Naming, ...]
    useless: tuple[tuple[Path, Path], ...]


class Waiting:
    """The frames to review, with the embedding of each."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._seen: dict[str, NDArray[np.float32] | None] = {}  # embedding of each frame; None if it cannot be read
        self._steps: OrderedDict[int, _Step] = OrderedDict()
        self._numbers = itertools.count(1)
        self._asked = float("-inf")

    def look(self, learner: Learner) -> None:
        """Embed one more frame while the page is open; runs in the learner's thread, between two jobs."""
        if time.monotonic() - self._asked > OPEN:
            return
        path = next((path for path in self._files() if path.name not in self._seen), None)
        if path is not None:
            photo = next(iter(learner.embed([path])))
            self._seen[path.name] = photo.embedding

    def routes(self) -> list[Route]:
        """The page's requests and what answers them."""
        return [
            Route("/waiting", self._waiting),
            Route("/waiting/{file}", self._picture),
            Route("/review/name", posted(self._name), methods=["POST"]),
            Route("/review/useless", posted(self._put_away), methods=["POST"]),
            Route("/review/undo", posted(self._undo), methods=["POST"]),
        ]

    async def _waiting(self, request: Request) -> Response:
        return JSONResponse(await self._desk.engine.do(self._listed))

    async def _picture(self, request: Request) -> Response:
        """Serve one frame's picture, as JPEG."""
        (path,) = self._paths([request.path_params["file"]])

        def read(_: Learner) -> bytes:
            return preprocess.preview(preprocess.read(path), path.name, 1280)

        data = await self._desk.engine.do(read)
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"})

    def _listed(self, learner: Learner) -> Any:
        """List the frames with the network's answer for each, oldest first, near-duplicates in one group."""
        self._asked = time.monotonic()
        files = self._files()
        self._seen = {path.name: self._seen[path.name] for path in files if path.name in self._seen}
        looked = [path for path in files if self._seen.get(path.name) is not None]
        groups: dict[str, str] = {}
        told: dict[str, Any] = {}
        if looked:
            serving = learner.serving()
            x = np.stack([e for path in looked if (e := self._seen[path.name]) is not None])
            for alike in near_duplicates(x, [""] * len(looked)) if len(looked) > 1 else ():
                groups |= {looked[row].name: looked[alike.rows[0]].name for row in alike.rows}
            answering = Answering(learner)
            for path, row, embedding in zip(looked, serving.head.probabilities(x), x, strict=True):
                unknown = answering.unknown(serving, embedding, int(row.argmax()))
                told[path.name] = {"unknown": unknown, "top": to_json(guesses(serving.head, row))}
        return {
            "frames": [
                {
                    "file": path.name,
                    "time": _time(path.name),
                    "group": groups.get(path.name, path.name),
                    "readable": path.name not in self._seen or self._seen[path.name] is not None,
                    **told.get(path.name, {"unknown": None, "top": []}),
                }
                for path in files
            ],
            "looked_at": len([path for path in files if path.name in self._seen]),
            "labels": learner.labels(),
        }

    def _name(self, learner: Learner, asked: dict[str, Any]) -> Any:
        """Give frames a label; frames that are labelled together share a session."""
        files, label = field(asked, "files", list), clean(field(asked, "label", str))
        paths = self._paths(files)
        review, session = Review(learner, self._desk.uncertain), None
        if len(paths) > 1:
            session = f"review {learner.now()} {paths[0].name}"
        namings: list[Naming] = []
        said: list[str] = []
        try:
            for path in paths:
                said += [plain(line) for line in review.name(path, label, session)]
                if review.last is not None:
                    namings.append(review.last)
        finally:  # if one fails, the earlier ones can still be undone
            number = self._step(_Step(tuple(namings), ())) if namings else 0
        return {"labelled": len(namings), "label": label, "said": list(dict.fromkeys(said)), "step": number}

    def _put_away(self, _: Learner, asked: dict[str, Any]) -> Any:
        """Move useless frames to the folder of discarded frames."""
        files, folder = field(asked, "files", list), self._desk.uncertain / USELESS
        folder.mkdir(exist_ok=True)
        moved = [(path, path.rename(folder / path.name)) for path in self._paths(files)]
        for path in saved(folder)[:-KEPT]:
            path.unlink(missing_ok=True)
        return {"put_away": len(moved), "step": self._step(_Step((), tuple(moved)))}

    def _undo(self, learner: Learner, asked: dict[str, Any]) -> Any:
        """Undo one step; what cannot be undone of it can be tried again."""
        number = field(asked, "step", int)
        step = self._steps.get(number)
        if step is None:
            raise Stale("page-outdated", "this was undone already, or is too long ago")
        left = list(step.namings)
        try:
            while left:
                take_back(learner, left[-1])
                left.pop()
            for before, path in step.useless:
                if path.exists():
                    path.rename(before)
        finally:
            self._steps[number] = _Step(tuple(left), step.useless)
        del self._steps[number]
        return {"undone": len(step.namings) + len(step.useless)}

    def _files(self) -> list[Path]:
        return saved(self._desk.uncertain)[-MOST:] if self._desk.uncertain.is_dir() else []

    def _paths(self, names: list[str]) -> list[Path]:
        if not names or not all(isinstance(name, str) and _NAME.fullmatch(name) for name in names):
            raise BadRequest("request-invalid", "'files' must be a list of frames that wait for a label")
        paths = [self._desk.uncertain / name for name in dict.fromkeys(names)]
        gone = sum(not path.is_file() for path in paths)
        if gone:
            raise Stale(
                "page-outdated",
                f"somebody else was faster: {gone} of these pictures {'is' if gone == 1 else 'are'} gone",
            )
        return paths

    def _step(self, step: _Step) -> int:
        number = next(self._numbers)
        self._steps[number] = step
        while len(self._steps) > STEPS:
            self._steps.popitem(last=False)
        return number


def _time(name: str) -> str:
    """Return when a frame was taken, according to its file name; "" if the name does not say.

    >>> _time("uncertain-20261124T160102.250000.jpg")
    '2026-11-24T16:01:02+00:00'
    """
    found = re.match(r"uncertain-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)\.", name)
    return "{}-{}-{}T{}:{}:{}+00:00".format(*found.groups()) if found else ""
