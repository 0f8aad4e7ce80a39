"""The one thread that owns the home and the network: it classifies the camera's frames and runs jobs between them.

Requests arrive in other threads. Each becomes a job, a function of the learner. Jobs run in the order in which they
arrive, so SQLite and the runtime are never used by two threads at once. A separate thread reads the camera and hands
over one frame at a time: during a long job, frames are dropped for the learner, but the live picture continues.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from edge.answers import Skipped
from edge.camera.folder import Notice
from edge.camera.source import Event, Source
from edge.errors import EdgeError
from edge.learner import Learner
from edge.picture.frame import Frame

T = TypeVar("T")
WAITING = 200  # jobs; further requests are refused
TURN = 0.5  # seconds without a job or a frame before the listeners get their turn


class Busy(EdgeError):
    """Too many requests are waiting for the learner."""


class Ended(EdgeError):
    """The server is stopping."""


@dataclass(frozen=True)
class _Job:
    act: Callable[[Learner], Any]
    answer: Future[Any]


class Engine:
    """The queue of jobs and the loop that runs them.

    Args:
        stop: set it to end the loop; waiting jobs then raise `Ended`.
    """

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self.settle: Callable[[Learner], None] = lambda _: None  # called after each job, before it is answered
        self._queue: queue.Queue[Any] = queue.Queue()
        self._jobs = 0  # changed by the event loop alone

    async def do(self, act: Callable[[Learner], T]) -> T:
        """Run a function in the learner's thread, and return its result.

        Raises:
            Busy: too many jobs are waiting.
            Ended: the server is stopping.
            Exception: any error that the function raises.
        """
        if self._jobs >= WAITING:
            raise Busy("server-busy", "too many requests are waiting; try again in a moment")
        if self.stop.is_set():
            raise Ended("server-stopping", "the server is stopping")
        answer: Future[T] = Future()
        self._jobs += 1
        self._queue.put(_Job(act, answer))
        try:
            return await asyncio.wrap_future(answer)
        finally:
            self._jobs -= 1

    def next(self, learner: Learner, seconds: float = TURN) -> Any:
        """Run the next job, or return the next event from the queue; None if neither comes within the timeout."""
        try:
            item = self._queue.get(timeout=seconds)
        except queue.Empty:
            return None
        if not isinstance(item, _Job):
            return item
        self._work(item, learner)
        return None

    def put(self, item: Any) -> None:
        """Put an event into the queue, for `next` to return."""
        self._queue.put(item)

    def refuse(self) -> None:
        """Let all waiting jobs raise `Ended`."""
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return
            if isinstance(item, _Job) and item.answer.set_running_or_notify_cancel():
                item.answer.set_exception(Ended("server-stopping", "the server is stopping"))

    def _work(self, job: _Job, learner: Learner) -> None:
        if not job.answer.set_running_or_notify_cancel():  # the client has disconnected
            return
        try:
            result = job.act(learner)
            self.settle(learner)  # so that the client's next request sees the result
        except Exception as error:
            job.answer.set_exception(error)
        else:
            job.answer.set_result(result)


@dataclass(frozen=True)
class _End:
    """The source ended, perhaps with an error."""

    error: Exception | None


class Shared:
    """A source whose frames come through the engine's queue, so that jobs are done between them.

    Args:
        show: called in the reading thread with each frame and notice, before it is classified.
        turn: called in the learner's thread after each job, and with each event before it is handled.
    """

    def __init__(
        self,
        source: Source,
        engine: Engine,
        learner: Learner,
        show: Callable[[Frame | Notice | Skipped], None],
        turn: Callable[[Event], None],
    ) -> None:
        self.name, self.live = source.name, source.live
        self._source, self._engine, self._learner = source, engine, learner
        self._show, self._turn = show, turn
        self._done = threading.Event()

    def frames(self, every: float, stop: threading.Event) -> Iterator[Event]:
        """Yield frames as `Source.frames` does, and run the engine's jobs in the calling thread."""
        reader = threading.Thread(target=self._read, args=(every, stop), name="camera", daemon=True)
        reader.start()
        while not stop.is_set():
            event = self._engine.next(self._learner)
            if isinstance(event, _End):
                if event.error is not None:
                    raise event.error
                return
            self._turn(event)
            yield event
            if event is not None:
                self._done.set()

    def _read(self, every: float, stop: threading.Event) -> None:
        error: Exception | None = None
        try:
            for event in self._source.frames(every, stop):
                if event is None:
                    continue
                self._show(event)
                self._done.clear()
                self._engine.put(event)
                while not self._done.wait(TURN):  # a folder's frames are answered one by one, as its journal requires
                    if stop.is_set():
                        return
        except Exception as raised:
            error = raised
        self._engine.put(_End(error))
