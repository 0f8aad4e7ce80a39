"""When a picture shows nothing: as the bundle's network would see it."""

import io

import pytest
from PIL import Image

from edge.camera.exposure import WarmUp, blank
from edge.picture.region import Region


def wall(colour: str) -> bytes:
    """A wide picture of a white wall, with something of another colour at its left side."""
    image = Image.new("RGB", (640, 240), "white")
    image.paste(colour, (0, 0, 120, 240))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(("fit", "expected"), [("crop", True), ("pad", False), ("stretch", False)])
def test_what_the_network_sees_decides(fit: str, expected: bool) -> None:
    assert blank(wall("red"), "wall.png", None, fit) is expected
    assert blank(wall("white"), "wall.png", None, fit)
    assert blank(wall("red"), "wall.png", Region.parse("0.5,0,0.5,1"), fit)


def test_a_camera_that_sees_something_anywhere_has_warmed_up() -> None:
    assert WarmUp(every=2).over(wall("red"), 0.0)
    assert not WarmUp(every=2).over(wall("white"), 0.0)
