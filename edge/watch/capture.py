"""`capture`: teach a burst of frames from a camera as one session; nearly identical frames are skipped."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from edge.answers import Skipped
from edge.camera.exposure import LONGEST, blank
from edge.camera.folder import Notice
from edge.camera.source import Source
from edge.errors import ImageError
from edge.home.state import unheard
from edge.learner import Learner
from edge.learning.domain_check import FEW, Looks
from edge.picture.frame import Frame
from edge.picture.same import Alike
from edge.unknown import domain
from edge.unknown.domain import Complaint

BLANK = "a frame shows a single colour and was not taught; check whether the lens is covered or it is dark"


class Captured(NamedTuple):
    """The result of a burst: ids of the new examples, and the numbers of frames that were seen, repeated or unreadable.

    `blank` frames are of one colour and were not taught; `complaints` say how the others differ from the bundle's.
    """

    label: str
    session: str
    examples: tuple[int, ...]
    frames: int
    alike: int
    unreadable: tuple[Skipped, ...]
    blank: int = 0
    complaints: tuple[str, ...] = ()


def capture(
    learner: Learner,
    label: str,
    source: Source,
    session: str,
    count: int,
    seconds: float,
    every: float,
    stop: threading.Event,
    progress: Callable[[int, int], None],
    notice: Callable[[str], object],
) -> Captured:
    """Teach a label from the frames of a source; each is stored at once, so that stopping early loses none.

    Args:
        source: a camera, stream or video file.
        session: the burst's name; its examples are left out together when accuracy is measured.
        count: number of examples to collect.
        every: least number of seconds between two frames.
        progress: called with (examples, count).
        notice: called with messages for people.

    Raises:
        LabelError: the name is not a valid label.
        SourceError: the source cannot be read.
    """
    burst = Burst(learner, label, session, count, notice)
    end = time.monotonic() + seconds
    warming = LONGEST  # seconds that a camera may take longer to its first frame, if it is there
    for event in source.frames(every, stop):
        if isinstance(event, Notice):
            warming = 0.0 if event.gone else warming
            notice(event.text)
        if isinstance(event, Frame):
            if not burst.frames:
                end, warming = time.monotonic() + seconds, 0.0
            if burst.add(event):
                progress(len(burst.taught), count)
        if len(burst.taught) >= count or time.monotonic() >= end + warming:
            break
    return burst.result()


class Burst:
    """Teaches the frames of one session one by one.

    Args:
        learner, label, session, notice: as in `capture`.
        count: number of examples to collect; a frame is compared with as many earlier ones.

    Raises:
        LabelError: the name is not a valid label.
    """

    def __init__(
        self,
        learner: Learner,
        label: str,
        session: str,
        count: int,
        notice: Callable[[str], object] = unheard,
    ) -> None:
        self.label, self.session = label, session
        self.taught: list[int] = []
        self.frames = self.alike = self.blank = 0
        self.faults: list[list[Complaint]] = []
        self.unreadable: list[Skipped] = []
        self._learner, self._notice = learner, notice
        self._seen = Alike(learner.region, count, learner.info.fit)
        self._beside = learner.beside(label)
        self._looks = Looks(learner)

    def add(self, frame: Frame) -> bool:
        """Teach a frame unless it is blank or nearly identical to another; returns False if it cannot be read."""
        self.frames += 1
        try:
            region, fit = self._learner.region, self._learner.info.fit
            nothing, new = blank(frame.data, frame.name, region, fit), self._seen.new(frame)
        except ImageError as error:
            self.unreadable.append(Skipped(frame.name, str(error)))
            return False
        if nothing:
            self.blank += 1
            if self.blank == 1:
                self._notice(BLANK)
        elif new:
            result = self._learner.teach_each(self.label, [frame], self.session)
            self.taught += result.examples
            self.alike += len(result.known)
            self.faults.append(self._looks.complaints_about(frame))
            if self.faults[-1] and not any(self.faults[:-1]):
                self._notice(f"warning: {domain.summary(self.faults[-1:])[0]}")
        else:
            self.alike += 1
        return True

    def result(self) -> Captured:
        """The result so far."""
        lines = (*(self._beside if self.taught else ()), *domain.summary(self.faults, FEW))
        return Captured(
            self.label, self.session, tuple(self.taught), self.frames, self.alike, tuple(self.unreadable), self.blank,
            lines,
        )  # fmt: skip
