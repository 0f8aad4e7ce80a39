"""What is shown in Home Assistant is what is taught there."""

import io

from PIL import Image

from edge.mqtt.shown import PAUSE, REACTION, SIDE, LastPicture
from edge.picture.frame import Frame
from edge.picture.region import Region
from tests.edge.conftest import picture


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def frame(name: str, seed: int) -> Frame:
    file = io.BytesIO()
    picture(name, seed).resize((1280, 960)).save(file, "JPEG")
    return Frame(f"{name} {seed}", file.getvalue(), float(seed))


def test_a_changed_answer_is_shown_at_once_small_and_without_metadata() -> None:
    last = LastPicture(lambda: (None, "crop"), Clock())
    data = last.take(frame("brick", 1), changed=True)
    assert data is not None
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        assert max(image.size) == SIDE
        assert not image.getexif()


def test_without_a_change_a_picture_comes_seldom_and_only_if_something_moved() -> None:
    clock = Clock()
    last = LastPicture(lambda: (None, "crop"), clock)
    assert last.take(frame("brick", 1), changed=True)
    assert last.take(frame("grass", 2), changed=False) is None, "it is too soon"
    clock.now += PAUSE
    assert last.take(frame("brick", 1), changed=False) is None, "it is the same"
    clock.now += PAUSE
    assert last.take(frame("grass", 2), changed=False)


def test_only_what_moves_in_the_region_counts() -> None:
    clock = Clock()
    last = LastPicture(lambda: (Region.parse("0,0,0.25,0.25"), "crop"), clock)
    first, second = Image.new("RGB", (400, 400)), Image.new("RGB", (400, 400))
    second.paste((255, 255, 255), (200, 200, 400, 400))
    frames = []
    for one in (first, second):
        file = io.BytesIO()
        one.save(file, "PNG")
        frames.append(Frame("x", file.getvalue(), 0.0))
    assert last.take(frames[0], changed=True)
    clock.now += PAUSE
    assert last.take(frames[1], changed=False) is None


def test_whoever_asks_means_the_picture_that_was_on_the_screen_a_moment_ago() -> None:
    clock = Clock()
    last = LastPicture(lambda: (None, "crop"), clock)
    assert last.at(clock.now) is None, "nothing was shown yet"
    first, second, third = frame("brick", 1), frame("grass", 2), frame("brick", 3)
    last.take(first, changed=True)
    assert last.at(clock.now) == first, "there is no other"
    clock.now += 60
    last.take(second, changed=True)
    assert last.at(clock.now + REACTION / 2) == first
    assert last.at(clock.now + REACTION) == second
    clock.now += 60
    last.take(third, changed=True)
    assert last.at(clock.now) == second
    assert last.at(clock.now + 60) == third
