"""Commands of a broker to a real learner, through a real broker: taught, corrected, retrained, refused."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.learner import Learner
from edge.mqtt.control import LONGEST, Control
from edge.mqtt.mqtt import Mqtt
from edge.picture.frame import Frame

from .cameras import jpeg
from .conftest import picture
from .test_mqtt import Listener, broker, port, seen  # noqa: F401
from .test_watch import wait_for

LABELS = ["brick", "grass", "gravel"]


class House:
    """A watcher's half, and what Home Assistant does at the broker."""

    def __init__(self, learner: Learner, listener: Listener, at: int) -> None:
        self.learner, self._listener = learner, listener
        self.control = Control(
            learner, lambda verbs, labels, heat: Mqtt(f"mqtt://127.0.0.1:{at}/x", "pi", verbs=verbs, labels=labels)
        )
        listener.waits("edge/x/available", bool)

    def show(self, name: str, seed: int) -> bytes:
        """Show a picture; returns its bytes."""
        frame = Frame(f"camera {seed}", jpeg(picture(name, seed)), 1_764_000_000.0 + seed)
        self.control.tell(seen(name), LABELS, frame)
        return frame.data

    def says(self, verb: str, payload: str | bytes) -> str:
        """Send a command; returns the line that it was answered with."""
        self._listener.says(f"edge/x/{verb}", payload)
        lines: list[str] = []
        wait_for(lambda: bool(lines.extend(line for line in self.control.turn() if line.startswith("MQTT: ")) or lines))
        (line,) = lines
        return line

    def taught(self) -> list[tuple[str, str]]:
        return [(example.image, example.label) for example in self.learner.examples()]


@pytest.fixture
def house(learner: Learner, tmp_path: Path, port: int) -> Iterator[House]:  # noqa: F811
    with broker(tmp_path, port), Listener(port) as listener:
        made = House(learner, listener, port)
        yield made
        made.control.close()


def test_the_picture_on_the_screen_is_taught_corrected_and_retrained(house: House) -> None:
    image = hashlib.sha256(house.show("brick", 900)).hexdigest()
    before = house.learner.status().generation
    assert "edge forget 1" in house.says("teach", "grass")
    assert house.taught() == [(image, "grass")]
    house.says("teach", "grass")  # pressed twice
    assert house.taught() == [(image, "grass")]
    line = house.says("teach", "brick")  # changed their mind
    assert "'grass'" in line
    assert "'brick'" in line
    assert house.taught() == [(image, "brick")]
    house.says("retrain", "PRESS")
    status = house.learner.status()
    assert (status.generation, status.untrained_examples) == (before + 1, 0)


REFUSED: dict[str, tuple[str, str | bytes]] = {
    "a name that is no label": ("teach", "no such"),
    "no answer at all": ("teach", "unknown"),
    "no UTF-8": ("teach", b"\xff\xfe"),
    "too long": ("teach", "x" * (LONGEST + 1)),
    "no press": ("retrain", "now"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_command_that_cannot_be_done_is_refused_in_one_line_and_changes_nothing(house: House, kind: str) -> None:
    house.show("brick", 900)
    version = house.learner.version()
    assert "refused: " in house.says(*REFUSED[kind])
    assert house.learner.version() == version
    house.says("teach", "brick")  # the next one is carried out
    assert len(house.taught()) == 1


def test_before_the_first_picture_there_is_nothing_to_teach(house: House) -> None:
    assert "refused: " in house.says("teach", "brick")
    assert house.taught() == []
