"""`Watcher`: `edge watch` as a loop in a program of your own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from edge.answers import Seen, Skipped
from edge.camera.folder import Folder, Notice
from edge.camera.source import Source, open_source
from edge.home.state import unheard
from edge.learner import Learner
from edge.picture.frame import Frame
from edge.watch.loop import Sight, watch
from edge.watch.smooth import Rule


class FrameAnswer(Seen):
    """The answer for one frame, with the `frame` itself: save its `data`, or teach it."""

    frame: Frame


class Watcher:
    """Classifies the frames of a camera, stream, video file or folder, one after another.

    Use it in a `for` loop; the camera is closed when the loop ends. Each picture of a folder is classified once, even
    if the program is started again.

    Args:
        learner: the learner.
        source: what `edge watch` takes, such as "picamera", "/dev/video0", an address or a path; or a camera of your
            own, as `edge.testing.FakeCamera` is one.
        every: least number of seconds between two frames.
        smooth: "N/M": settle on a label once N of the last M answers agree. None for 3/5, or 1/1 for a folder or video.
        say: called with one line when a camera is gone or a picture cannot be read.
        allow_self_signed: accept any certificate of an https camera.

    Raises:
        SourceError: when the loop starts: there is no such source, or the library that reads it is not installed.
        HomeError: when the loop starts: another process is watching that folder for this home.

    >>> import tempfile
    >>> from edge.testing import FakeCamera, new_learner, surface
    >>> with new_learner(tempfile.mkdtemp()) as learner:
    ...     _ = learner.retrain(known_coverage=1)  # a name for every frame
    ...     camera = FakeCamera([surface("brick", seed) for seed in range(5)])
    ...     [answer.settled for answer in Watcher(learner, camera)]
    [None, None, 'brick', 'brick', 'brick']
    """

    def __init__(
        self,
        learner: Learner,
        source: str | Path | Source,
        *,
        every: float = 0.2,
        smooth: str | None = None,
        say: Callable[[str], object] = unheard,
        allow_self_signed: bool = False,
    ) -> None:
        self._learner = learner
        self._source = source
        self._every = every
        self._rule = Rule.parse(smooth) if smooth else None
        self._say = say
        self._self_signed = allow_self_signed
        self._stop = threading.Event()

    def stop(self) -> None:
        """End the loop after the current frame; may be called from any thread."""
        self._stop.set()

    def __iter__(self) -> Iterator[FrameAnswer]:
        with ExitStack() as closes:
            source = self._source
            if isinstance(source, str | Path):
                text = str(source)
                path = str(Path(text).expanduser()) if text.startswith("~") else text  # a Path would spoil an address
                source = open_source(path, self._learner.home, self._self_signed)
            journal = closes.enter_context(closing(source.journal)) if isinstance(source, Folder) else None
            rule = self._rule or Rule.usual(source.live)
            events = watch(self._learner, source, rule, self._every, self._stop, journal)
            for event in closes.enter_context(closing(events)):
                if isinstance(event, Sight) and event.frame is not None:
                    answer = FrameAnswer(*event.seen)
                    answer.frame = event.frame
                    yield answer
                elif isinstance(event, Notice):
                    self._say(event.text)
                elif isinstance(event, Skipped):
                    self._say(f"skipped: {event.reason}")
