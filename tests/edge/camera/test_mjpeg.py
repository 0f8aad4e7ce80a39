"""Motion JPEG: every whole picture comes out, wherever the stream was cut, damaged, or told lies about."""

import functools
import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge.camera import mjpeg
from edge.errors import SourceError
from tests.edge.cameras import jpeg
from tests.edge.conftest import picture
from tests.refused import refused

FORMS: dict[str, Callable[[bytes, int], bytes]] = {  # what stands before a picture, given it and its length in truth
    "boundary alone": lambda _, __: b"\r\n--frame\r\n\r\n",
    "type": lambda _, __: b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n",
    "no line's end before": lambda _, __: b"--frame\r\nContent-Type: image/jpeg\r\n\r\n",
    "bare line ends": lambda _, __: b"\n--frame\nContent-Type: image/jpeg\n\n",
    "length sent": lambda sent, _: b"\r\n--frame\r\nContent-Length: %d\r\n\r\n" % len(sent),
    "length meant": lambda _, size: b"\r\n--frame\r\nX: y\r\ncontent-length: %d\r\nA: b\r\n\r\n" % size,
    "length too small": lambda _, size: b"\r\n--frame\r\nContent-Length: %d\r\n\r\n" % (size // 2),
    "length too large": lambda _, size: b"\r\n--frame\r\nContent-Length: %d\r\n\r\n" % (size * 3),
    "length of everything": lambda _, __: b"\r\n--frame\r\nContent-Length: 999999999\r\n\r\n",
    "no dashes": lambda _, __: b"\r\nframe\r\nContent-Type: image/jpeg\r\n\r\n",
    "padding": lambda _, __: b"\x00" * 100,
    "nothing": lambda _, __: b"",
}


@functools.cache
def camera_pictures(count: int = 8, restarts: bool = False) -> tuple[bytes, ...]:
    if not restarts:
        return tuple(jpeg(picture("brick", seed, side=40)) for seed in range(count))
    made = []
    for seed in range(count):
        file = io.BytesIO()
        picture("grass", seed, side=40).save(file, "JPEG", quality=90, restart_marker_blocks=1)
        made.append(file.getvalue())
    assert all(b"\xff\xd0" in data and b"\xff\xd7" in data for data in made)
    return tuple(made)


def pieces(stream: bytes, size: int) -> Callable[[int], bytes]:
    parts: Iterator[bytes] = iter([stream[at : at + size] for at in range(0, len(stream), size)])
    return lambda _: next(parts, b"")


@pytest.mark.parametrize("restarts", [False, True], ids=["thumbnails", "restart markers"])
@pytest.mark.parametrize("form", FORMS)
def test_every_whole_picture_comes_out_and_nothing_else(form: str, restarts: bool) -> None:
    pictures = camera_pictures(restarts=restarts)
    before = FORMS[form]
    stream = b"HTTP leftovers\r\n" + b"".join(before(data, len(data)) + data for data in pictures)
    stream += before(pictures[0], len(pictures[0])) + pictures[0][:200]
    for size, boundary in [
        (7 if form == "type" else 61, "frame"),
        *itertools.product([4096], ("--frame", "other", "")),
    ]:
        assert list(mjpeg.split(pieces(stream, size), boundary=boundary)) == list(pictures), (size, boundary)


@given(st.data())
@settings(max_examples=100)
def test_of_a_stream_with_cut_pictures_each_whole_one_comes_out(data: st.DataObject) -> None:
    pictures = camera_pictures(restarts=data.draw(st.booleans()))
    before = FORMS[data.draw(st.sampled_from([form for form in FORMS if form not in ("padding", "nothing")]))]
    stream, whole = b"", []
    for number in range(30):
        full = pictures[number % len(pictures)]
        cut = data.draw(st.integers(0, 4)) == 0
        sent = full[: data.draw(st.integers(1, len(full) - 2))] if cut else full
        whole += [] if cut else [full]
        stream += before(sent, len(full)) + sent
    found = list(mjpeg.split(pieces(stream, data.draw(st.sampled_from([64, 1000, 65_536]))), boundary="frame"))
    assert [piece for piece in found if piece in whole] == whole
    assert len(found) - len(whole) <= 3, "cut ones are passed on only while it is not known how pictures end"


def test_one_in_ten_cut_costs_only_itself_without_any_boundary() -> None:
    pictures = camera_pictures(restarts=True)
    sent = [data if n % 10 else data[: 3 + len(data) * n // 210] for n, data in enumerate(25 * pictures)]
    found = list(mjpeg.split(pieces(b"".join(sent), 1000)))
    assert found == [data for n, data in enumerate(sent) if n % 10]


@pytest.mark.parametrize("form", ["type", "length sent", "length meant", "no line's end before", "nothing"])
def test_a_camera_that_never_writes_the_end_is_read_all_the_same(form: str) -> None:
    pictures = [data[:-2] for data in camera_pictures(restarts=True)]
    stream = b"".join(FORMS[form](data, len(data)) + data for data in pictures)
    found = list(mjpeg.split(pieces(stream, 777), boundary="frame"))
    for data, truth in zip(found, camera_pictures(restarts=True), strict=True):
        ours, theirs = (np.asarray(Image.open(io.BytesIO(one))) for one in (data, truth))
        assert np.array_equal(ours, theirs)


def test_several_pictures_in_one_part_are_one_frame() -> None:
    first, second = camera_pictures()[:2]
    stream = FORMS["length sent"](first + second, 0) + first + second
    assert list(mjpeg.split(pieces(3 * stream, 500), boundary="frame")) == 3 * [first + second]


def test_a_picture_does_not_wait_for_the_next_one() -> None:
    data = camera_pictures()[0]
    for form in FORMS:
        if form not in ("length too large", "length of everything"):
            parts = iter([FORMS[form](data, len(data)) + data])
            assert next(mjpeg.split(lambda _, parts=parts: next(parts))) == data, form  # type: ignore[misc]


@pytest.mark.parametrize(
    "stuff", [b"--frame\r\nContent-Type: text/plain\r\n\r\nhello\r\n", b"\xff\xd8\xff\xda\x00\x02x"]
)
def test_a_stream_without_a_picture_ends_in_time_though_its_bytes_trickle_in(stuff: bytes) -> None:
    seconds = itertools.count()
    forever = itertools.cycle(stuff) if stuff.startswith(b"-") else itertools.chain(stuff, itertools.repeat(0))
    with refused("stream-failed", SourceError, "10 s"):
        list(mjpeg.split(lambda _: bytes([next(forever)]), 10, "frame", lambda: next(seconds) / 100))


def test_an_endless_picture_is_not_motion_jpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mjpeg, "MAX_BYTES", 200_000)
    with refused("stream-failed", SourceError, "motion JPEG"):
        list(mjpeg.split(io.BytesIO(b"\xff\xd8\xff\xda\x00\x02" + bytes(300_000)).read))


def test_bytes_of_no_stream_at_all_give_nothing_and_hold_no_memory() -> None:
    random = np.random.default_rng(0)
    splitter = mjpeg._Splitter("frame")
    for _ in range(20):
        assert not list(splitter.add(random.integers(0, 255, 10_000).astype(np.uint8).tobytes()))
    assert len(splitter._buffer) < 20_000


@given(st.binary(max_size=3000))
def test_whatever_comes_it_ends(data: bytes) -> None:
    list(mjpeg.split(pieces(data + b"\xff\xd8\xff" + data, 100), boundary="frame"))


def test_the_walk_reads_what_pillow_reads(tmp_path: Path) -> None:
    for options in ({"progressive": True}, {"optimize": True}, {"subsampling": 0}, {"exif": bytes(20)}):
        file = io.BytesIO()
        picture("gravel", 1, side=200).save(file, "JPEG", **options)  # type: ignore[arg-type]
        assert list(mjpeg.split(pieces(2 * file.getvalue(), 99))) == 2 * [file.getvalue()]
