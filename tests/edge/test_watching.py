"""An answer is done when everybody was told: one that fails keeps no other from hearing, and nothing stays untold."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.answers import Skipped
from edge.camera.folder import Folder, Journal
from edge.learner import Learner
from edge.picture.find import saved
from edge.picture.frame import Frame
from edge.watch.hooks import Hook, Hooks
from edge.watch.loop import Sight
from edge.watch.service import Listeners, Watched, keep_watching
from edge.watch.smooth import Rule
from edge.watch.unsure import Uncertain

from .cameras import filming, jpeg
from .conftest import picture
from .test_watch import home, learner, start, wait_for, wait_until_watching  # noqa: F401


class Broker:
    """Stands where `Control` and its `Mqtt` do; what it does is `tell`'s business."""

    def __init__(self, tell: Any) -> None:
        self.tell, self.mqtt = tell, self
        self.states: list[bool] = []
        self.closed = 0

    def present(self, there: bool) -> None:
        self.states.append(there)

    def turn(self) -> list[str]:
        return []

    def close(self) -> list[str]:
        self.closed += 1
        return []


def fail(*_: object) -> None:
    raise RuntimeError("out of order")


def watched(learner: Learner, folder: Path, tell: Any, said: list[str], count: int = 1, **others: Any) -> Watched:  # noqa: F811
    """Watch a folder until so many answers were told to everybody else."""
    stop = threading.Event()
    told = 0

    def counted(sight: Sight) -> None:
        nonlocal told
        told += 1
        if told == count:
            stop.set()
        tell(sight)

    journal = Journal(learner.home, folder)
    try:
        listeners = Listeners(counted, said.append, **others)
        return keep_watching(learner, Folder(folder, journal), Rule(1, 1), 0.01, stop, listeners, journal)
    finally:
        journal.close()


def test_a_listener_that_fails_is_said_once_and_the_others_hear_everything(learner: Learner, tmp_path: Path) -> None:  # noqa: F811
    for number in range(3):
        picture("grass", number).save(tmp_path / "in" / f"{number}.png")
    told: list[Sight] = []
    said: list[str] = []
    broker: Any = Broker(fail)
    hooks = Hooks([Hook("grass", ("/nowhere/at-all",))], tmp_path)
    keep = Uncertain(tmp_path / "unsure", 10_000_000, 1.1, None)
    (tmp_path / "unsure").rmdir()
    result = watched(learner, tmp_path / "in", told.append, said, 3, broker=broker, hooks=hooks, keep=keep)
    assert result == Watched(3, 0)
    assert len(told) == 3
    assert broker.closed == 1
    assert [line for line in said if "broker" in line] == ["not published to the broker: out of order"]
    assert [line for line in said if "review" in line] == ["not saved for review: No such file or directory"]
    assert len([line for line in said if "/nowhere/at-all does not start" in line]) == 1
    assert len(said) == 3


def test_what_could_not_be_printed_is_told_by_the_next_process_to_everybody(learner: Learner, tmp_path: Path) -> None:  # noqa: F811
    picture("grass", 1).save(tmp_path / "in" / "1.png")
    said: list[str] = []
    heard: list[Any] = []
    broker: Any = Broker(lambda seen, *_: heard.append(seen))

    def full(_: Sight) -> None:
        raise OSError(28, "No space left on device")

    keep = Uncertain(tmp_path / "unsure", 10_000_000, 1.1, None)
    for _ in range(2):  # again and again, until it can be printed
        with pytest.raises(OSError, match="No space"):
            watched(learner, tmp_path / "in", full, said, broker=broker, keep=keep)
    told: list[Sight] = []
    assert watched(learner, tmp_path / "in", told.append, said, broker=broker, keep=keep) == Watched(0, 0)
    assert [sight.again for sight in told] == [True]
    assert [one.image for one in heard] == [told[0].seen.image] * 3
    assert len(saved(tmp_path / "unsure")) == 1, "what was saved is not saved twice"
    told.clear()
    picture("brick", 1).save(tmp_path / "in" / "2.png")
    watched(learner, tmp_path / "in", told.append, said)
    assert [Path(sight.seen.image).name for sight in told] == ["2.png"], "what was told is not told again"


def test_a_frame_whose_saving_a_kill_prevented_is_saved_by_the_next_process(learner: Learner, tmp_path: Path) -> None:  # noqa: F811
    picture("grass", 1).save(tmp_path / "in" / "1.png")

    def killed(_: Sight) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watched(learner, tmp_path / "in", killed, [])
    keep = Uncertain(tmp_path / "unsure", 10_000_000, 1.1, None)
    watched(learner, tmp_path / "in", lambda sight: None, [], keep=keep)
    (path,) = saved(tmp_path / "unsure")
    assert path.read_bytes() == (tmp_path / "in" / "1.png").read_bytes()


def test_a_camera_whose_frames_cannot_be_read_is_not_there_and_said_seldom(learner: Learner) -> None:  # noqa: F811
    good = jpeg(picture("brick", 3))

    class Faulty:
        name, live = "camera", True

        def frames(self, every: float, stop: threading.Event) -> Iterator[Any]:
            for data in [good, good, good, *[b"noise"] * 4, *[good, b"noise"] * 20]:
                yield Frame("camera", data, 0.0)
            yield Skipped("camera", "the last")

    broker: Any = Broker(lambda *_: None)
    said: list[str] = []
    listeners = Listeners(lambda sight: None, said.append, broker=broker)
    result = keep_watching(learner, Faulty(), Rule(2, 3), 0.01, threading.Event(), listeners)
    assert result == Watched(23, 25)
    assert broker.states == [False], "once, when three in a row could not be read"
    assert len(said) == 1, said


def test_stopping_does_not_wait_for_a_pipe_that_nobody_reads(home: Path) -> None:  # noqa: F811
    with filming(lambda n: picture("brick", n)) as camera:
        process = start(home, "watch", camera.url(), "--json", "--every", 0.01)
        assert process.stdout is not None
        wait_until_watching(process)
        full = len(os.read(process.stdout.fileno(), 1))
        wait_for(lambda: _waits(process.pid))
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        out, err = process.communicate(timeout=60)
    assert full == 1
    assert process.returncode == 0, err
    assert b"Traceback" not in err
    assert out.endswith(b"\n")
    assert all(json.loads(line)["image"] for line in out.splitlines()[1:])


def _waits(pid: int) -> bool:
    """Whether a pipe between us is so full that its writer waits."""
    import fcntl
    import termios

    with open(f"/proc/{pid}/fd/1", "rb", buffering=0) as pipe:  # noqa: PTH123
        held = bytearray(4)
        fcntl.ioctl(pipe, termios.FIONREAD, held)
    return int.from_bytes(held, "little") > 60_000
