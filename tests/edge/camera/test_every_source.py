"""The contract of all sources: a row for each kind, and what a watcher relies on.

Whoever adds a kind of source adds a row to SOURCES.
"""

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.camera.folder import Folder
from edge.camera.source import Source, open_source
from edge.picture.frame import Frame
from tests.edge.cameras import filming, jpeg, write_film
from tests.edge.conftest import picture, write_pictures
from tests.edge.frigate_server import frigate

Opened = Callable[[Path, pytest.MonkeyPatch], Iterator[str]]


def folder(root: Path, _: pytest.MonkeyPatch) -> Iterator[str]:
    yield str(write_pictures(root, {"brick": 3}) / "brick")


def still(root: Path, _: pytest.MonkeyPatch) -> Iterator[str]:
    picture("brick", 1).save(root / "now.jpg")
    yield str(root / "now.jpg")


def film(root: Path, _: pytest.MonkeyPatch) -> Iterator[str]:
    yield str(write_film(root / "film.avi", ["brick", "grass"] * 10))


def stream(root: Path, _: pytest.MonkeyPatch) -> Iterator[str]:
    with filming(lambda n: picture("brick", n)) as server:
        yield server.url(user="me:secret@")


def snapshot(root: Path, _: pytest.MonkeyPatch) -> Iterator[str]:
    with filming(lambda n: picture("brick", n)) as server:
        yield server.url("still", "me:secret@")


def of_frigate(root: Path, _: pytest.MonkeyPatch) -> Iterator[str]:
    with frigate() as server:
        server.frame = picture("brick", 1, side=240)
        yield server.url("door")


def pi_camera(root: Path, patch: pytest.MonkeyPatch) -> Iterator[str]:
    """Through rpicam-vid: a program of that name films three pictures again and again."""
    (root / "film.mjpeg").write_bytes(b"".join(jpeg(picture("brick", seed)) for seed in range(3)))
    program = root / "rpicam-vid"
    program.write_text(f"#!/bin/sh\nwhile cat {root}/film.mjpeg; do sleep 0.05; done\n")
    program.chmod(0o755)
    patch.setenv("PATH", str(root), prepend=os.pathsep)
    patch.setitem(sys.modules, "picamera2", None)
    yield "picamera"


SOURCES: dict[str, tuple[Opened, bool]] = {  # how one is made, and whether it shows the present and is waited for
    "folder": (folder, False),
    "still": (still, False),
    "film": (film, False),
    "stream": (stream, True),
    "snapshot": (snapshot, True),
    "frigate": (of_frigate, True),
    "pi camera": (pi_camera, True),
}


@contextmanager
def opened(kind: str, root: Path, patch: pytest.MonkeyPatch) -> Iterator[Source]:
    for name in ("home", "in"):
        (root / name).mkdir()
    with contextmanager(SOURCES[kind][0])(root / "in", patch) as text:
        source = open_source(text, root / "home")
        yield source
        if isinstance(source, Folder):
            source.journal.close()


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_gives_whole_pictures_with_names_and_ends_when_it_is_told(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(kind, tmp_path, monkeypatch) as source:
        stop, frames = threading.Event(), list[Frame]()
        for event in source.frames(0.01, stop):
            if isinstance(event, Frame):
                frames.append(event)
                stop.set()
    assert len(frames) == 1, "it went on after it was told to stop"
    with Image.open(io.BytesIO(frames[0].data)) as image:
        red, _, blue = np.asarray(image.convert("RGB")).mean((0, 1))
    assert red > blue, "a brick is red"
    assert source.name in frames[0].name or Path(source.name).name in frames[0].name
    assert frames[0].time > 0


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_says_whether_it_is_live_and_shows_no_password(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(kind, tmp_path, monkeypatch) as source:
        assert source.live == SOURCES[kind][1]
        assert source.name
        assert "secret" not in source.name


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_that_is_stopped_before_it_begins_gives_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    stop.set()
    with opened(kind, tmp_path, monkeypatch) as source:
        assert not [event for event in source.frames(0.01, stop) if isinstance(event, Frame)]
