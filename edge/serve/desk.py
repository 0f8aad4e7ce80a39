"""The state shared by the pages: the engine, the live view, the current recording, and a summary of the home.

`turn` runs in the learner's thread, between jobs and frames. It replaces the summary in one assignment, so the event
loop can read it without waiting for the learner.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.answers import to_json
from edge.camera.source import Event
from edge.errors import EdgeError, ImageError
from edge.labels import clean
from edge.learner import Learner
from edge.learning.domain_check import Looks
from edge.network.photos import Photo
from edge.picture.find import saved
from edge.picture.frame import Frame
from edge.serve.engine import Engine
from edge.serve.live import LOOKING, Live
from edge.serve.words import plain
from edge.unknown.domain import Complaint, summary
from edge.watch.capture import Burst, Captured

ALONE = 3.0  # seconds without a request from the phone after which a recording stops
MOST = 200  # examples of one recording
RECOUNT = 2.0  # seconds between two counts of the frames to review


class Stale(EdgeError):
    """What the page showed is out of date, because somebody else has changed it."""


class Desk:
    """The state shared by the pages.

    Args:
        uncertain: the folder of frames saved for review; it need not exist.
        region_changed: called after the region was changed.
    """

    def __init__(
        self,
        engine: Engine,
        live: Live,
        home: Path,
        uncertain: Path,
        region_changed: Callable[[Learner], None] = lambda _: None,
    ) -> None:
        self.engine, self.live, self.home, self.uncertain = engine, live, home, uncertain
        self.region_changed = region_changed
        engine.settle = self.refresh
        self.at_a_glance: dict[str, Any] = {}
        self.recording: Recording | None = None
        self.recorded: OrderedDict[str, Captured] = OrderedDict()  # the latest results, by session
        self.idle: list[Callable[[Learner], None]] = []  # called in each turn
        self._run = secrets.token_hex(4)  # lets a page notice that the server was restarted
        self._version = -1
        self._counted = 0.0
        self._look = ""
        self._look_asked = 0.0
        self._looks: tuple[int, Looks] | None = None

    def turn(self, learner: Learner, event: Event = None) -> None:
        """Do the work that is due between two jobs or frames; runs in the learner's thread."""
        recording = self.recording
        if recording is not None:
            if isinstance(event, Frame):
                recording.burst.add(event)
            if recording.over(time.monotonic()):
                self.finish(recording.burst.session)
        elif isinstance(event, Frame):
            self._judge_light(learner, event)
        for due in self.idle:
            due(learner)
        self.refresh(learner)

    def refresh(self, learner: Learner) -> None:
        """Update the summary of the home if the home has changed."""
        version, now = learner.version(), time.monotonic()
        if version == self._version and now - self._counted < RECOUNT:
            return
        waiting = len(saved(self.uncertain)) if self.uncertain.is_dir() else 0
        if version != self._version:
            status = learner.status()
            self.at_a_glance = {**to_json(status), "version": f"{self._run}-{version:x}", "waiting": waiting}
        elif waiting != self.at_a_glance["waiting"]:
            self.at_a_glance = {**self.at_a_glance, "waiting": waiting}
        self._version, self._counted = version, now

    def now(self, look: bool) -> dict[str, Any]:
        """Return what pages request each second: the camera, its answer, the recording, and the home's summary."""
        live, shown, recording = self.live, self.live.shown, self.recording
        if look:
            self._look_asked = time.monotonic()
        return {
            "camera": {
                "name": live.name,
                "live": live.continuous,
                "state": live.state,
                "text": plain(live.text) if live.text else "",
            },
            "frame": shown.number if shown else 0,
            "answer": live.seen,
            "change": live.changes[0].number if live.changes else 0,
            "recording": recording.told() if recording else None,
            "look": self._look if look else "",
            "home": self.at_a_glance,
        }

    def start(self, learner: Learner, label: str, frame: int | None) -> dict[str, Any]:
        """Start recording, with the frame on the screen as the first one.

        Raises:
            Stale: another recording is running, or the picture of a folder has changed since the page showed it.
            LabelError: the name is not a valid label.
        """
        label = clean(label)
        if self.recording is not None:
            raise Stale("page-outdated", f"somebody else is recording '{self.recording.burst.label}' right now")
        shown = self.live.shown
        if shown is None:
            raise Stale("page-outdated", "there is no picture from the camera yet")
        if not self.live.continuous and frame is not None and frame != shown.number:
            raise Stale("page-outdated", "a new picture has arrived meanwhile; look again")
        now = learner.now()
        taken = {session for session in self.recorded if session.startswith(f"{label} {now}")}
        session = f"{label} {now}" + (f" {len(taken) + 1}" if taken else "")
        recording = Recording(Burst(learner, label, session, MOST))
        recording.burst.add(shown.frame)
        self.recording = recording
        return recording.told()

    def keep_on(self, session: str) -> dict[str, Any]:
        """Keep the recording running; the answer says if it has ended."""
        recording = self.recording
        if recording is not None and recording.burst.session == session:
            recording.heard = time.monotonic()
            return recording.told()
        return self.told(session)

    def finish(self, session: str) -> dict[str, Any]:
        """End a recording, in the learner's thread; ending it twice returns the same result."""
        recording = self.recording
        if recording is not None and recording.burst.session == session:
            self.recorded[session] = recording.burst.result()
            self.recording = None
            while len(self.recorded) > 16:
                self.recorded.popitem(last=False)
        return self.told(session)

    def told(self, session: str) -> dict[str, Any]:
        """Return the result of a recording that has ended.

        Raises:
            Stale: there is no such recording.
        """
        if session not in self.recorded:
            raise Stale("page-outdated", "this recording is not known here; the device was restarted meanwhile")
        return told(self.recorded[session], running=False)

    def _judge_light(self, learner: Learner, frame: Frame) -> None:
        """Check for pictures that are too dark, blurred and so on while somebody is about to teach."""
        if time.monotonic() - self._look_asked > LOOKING:
            return
        try:
            self._look = next(iter(_said(self.looks(learner).complaints_about(frame))), "")
        except ImageError:
            self._look = ""

    def looks(self, learner: Learner) -> Looks:
        """Return what pictures here usually look like."""
        generation = learner.serving().generation
        if self._looks is None or self._looks[0] != generation:
            self._looks = generation, Looks(learner)
        return self._looks[1]


class Recording:
    """A running burst, and the time of the last request from the page that records it."""

    def __init__(self, burst: Burst) -> None:
        self.burst = burst
        self.heard = time.monotonic()

    def over(self, now: float) -> bool:
        """Whether the phone has gone silent, or there are enough examples."""
        return now - self.heard > ALONE or len(self.burst.taught) >= MOST

    def told(self) -> dict[str, Any]:
        """Return the recording's state as JSON."""
        return told(self.burst.result(), running=True)


def told(captured: Captured, running: bool) -> dict[str, Any]:
    """Return a recording as the JSON of `edge capture`, with complaints in plain words and whether it is running."""
    about: dict[str, Any] = to_json(captured)
    return {**about, "complaints": [plain(line) for line in captured.complaints], "running": running}


def complaints_of(looks: Looks, photo: Photo) -> list[str]:
    """Return in plain words how a picture, which was embedded with its statistics, differs from the bundle's."""
    return _said(looks.complaints(photo.look.statistics)) if photo.look is not None else []


def _said(complaints: list[Complaint]) -> list[str]:
    return [plain(line) for line in summary([complaints])]
