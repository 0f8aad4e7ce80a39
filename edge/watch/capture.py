"""`capture`: teach from a camera. A burst of frames, those nearly the same left out, under one session."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from edge.answers import Skipped
from edge.camera.exposure import LONGEST, blank
from edge.camera.folder import Notice
from edge.camera.source import Source
from edge.errors import ImageError
from edge.learner import Learner
from edge.learning.domain_check import FEW, Looks
from edge.picture import preprocess
from edge.picture.frame import Frame
from edge.picture.same import Alike
from edge.unknown import domain
from edge.unknown.domain import Complaint

BLANK = "a frame shows nothing but one colour: is the lens covered, or is it dark? Such frames are not taught"


class Captured(NamedTuple):
    """What a burst gave: ids of new examples, and how many frames were looked at, were nearly the same, were bad.

    `blank` frames show nothing and were not taught; `complaints` say how the others differ from the factory's pictures.
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
    progress: Callable[[int, int], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> Captured:
    """Teach a label from what a source shows; each frame is stored at once, so that stopping early loses none.

    Args:
        learner: where to.
        label: its name.
        source: a camera, stream or film.
        session: the burst's name; its examples are left out together when the head is judged.
        count: examples wanted.
        seconds: after so many, enough or not, it ends.
        every: seconds from one frame to the next, at least.
        stop: set to end.
        progress: called with (examples, count).
        notice: called with what people should know.

    Raises:
        LabelError: the name is none.
        SourceError: the source cannot be read.
    """
    alike = Alike(learner.region, count, learner.info.fit)
    beside = learner.beside(label)
    taught: list[int] = []
    unreadable: list[Skipped] = []
    looks = Looks(learner)
    faults: list[list[Complaint]] = []
    frames = same = blanks = 0
    end = time.monotonic() + seconds
    warming = LONGEST  # seconds that a camera may take longer to its first frame, if it is there
    for event in source.frames(every, stop):
        if isinstance(event, Notice):
            warming = 0.0 if event.gone else warming
            if notice is not None:
                notice(event.text)
        if isinstance(event, Frame):
            if not frames:
                end, warming = time.monotonic() + seconds, 0.0
            frames += 1
            try:
                nothing, new = blank(event.data, event.name, learner.region), alike.new(event)
            except ImageError as error:
                unreadable.append(Skipped(event.name, str(error)))
                continue
            if nothing:
                blanks += 1
                if blanks == 1 and notice is not None:
                    notice(BLANK)
            elif new:
                result = learner.teach(label, [event], session)
                taught += result.examples
                same += len(result.known)
                faults.append(_complaints(learner, looks, event))
                if faults[-1] and not any(faults[:-1]) and notice is not None:
                    notice(f"careful: {domain.summary(faults[-1:])[0]}")
            else:
                same += 1
            if progress is not None:
                progress(len(taught), count)
        if len(taught) >= count or time.monotonic() >= end + warming:
            break
    lines = (*(beside if taught else ()), *domain.summary(faults, FEW))
    return Captured(label, session, tuple(taught), frames, same, tuple(unreadable), blanks, lines)


def _complaints(learner: Learner, looks: Looks, frame: Frame) -> list[Complaint]:
    pixels = preprocess.decode(frame.data, frame.name, learner.info.input_size, learner.info.short_side, learner.region)
    return looks.complaints(domain.look(pixels).statistics)
