"""Sources: what is complete is given once, what dies is waited for, and what is missing is named with its remedy."""

import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from edge.answers import Skipped
from edge.camera import devices, source
from edge.camera.folder import TIDY, Folder, Journal, Notice, Stamp
from edge.camera.source import Event, open_source
from edge.errors import HomeError, SourceError, SourceRefused
from edge.picture.frame import Frame
from tests.edge.cameras import NOWHERE, filming, jpeg, write_film
from tests.edge.conftest import picture
from tests.refused import refused


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    (tmp_path / "home").mkdir()
    (tmp_path / "in").mkdir()
    made = Journal(tmp_path / "home", tmp_path / "in")
    yield made
    made.close()


def names(events: list[Event]) -> list[str]:
    return [Path(event.name).name for event in events if isinstance(event, Frame)]


def until_idle(source: Folder, journal: Journal, looks: int = 3) -> list[Event]:
    """What a folder gives until it has nothing new for some looks; all of it is noted as answered."""
    stop, found, idle = threading.Event(), list[Event](), 0
    for event in source.frames(0.01, stop):
        idle = idle + 1 if event is None else 0
        found.append(event)
        if isinstance(event, Frame):
            journal.note(event, {"label": "x"})
        if idle > 2 * looks:
            stop.set()
    return found


def test_a_folders_pictures_are_given_once_and_oldest_first(tmp_path: Path, journal: Journal) -> None:
    for number, name in enumerate(["b.png", "a.png", "sub/c.png"]):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        picture("brick", number).save(path)
        os.utime(path, (1000 + number, 1000 + number))
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    (tmp_path / "in" / ".hidden.png").write_bytes(b"part of one")
    source = Folder(tmp_path / "in", journal)
    assert names(until_idle(source, journal)) == ["b.png", "a.png", "c.png"]
    assert names(until_idle(source, journal)) == []
    picture("grass", 9).save(tmp_path / "in" / "a.png")
    assert names(until_idle(source, journal)) == ["a.png"], "written anew, it is a new picture"


def test_a_file_that_grows_is_not_taken_before_it_is_complete(tmp_path: Path, journal: Journal) -> None:
    data = jpeg(picture("brick", 1, side=400))
    path = tmp_path / "in" / "slow.jpg"
    stop, sizes = threading.Event(), list[int]()

    def upload() -> None:
        with path.open("wb") as file:
            for at in range(0, len(data), len(data) // 20):
                file.write(data[at : at + len(data) // 20])
                file.flush()
                time.sleep(0.02)

    writer = threading.Thread(target=upload)
    writer.start()
    for event in Folder(tmp_path / "in", journal).frames(0.1, stop):
        if isinstance(event, Frame):
            sizes.append(len(event.data))
            stop.set()
    writer.join()
    assert sizes == [len(data)]


def test_a_folder_that_vanishes_is_waited_for_and_its_pictures_are_not_given_again(
    tmp_path: Path, journal: Journal
) -> None:
    picture("brick", 1).save(tmp_path / "in" / "a.png")
    stop, seen, moved = threading.Event(), list[Event](), tmp_path / "unplugged"
    for event in Folder(tmp_path / "in", journal).frames(0.01, stop):
        seen.append(event)
        if isinstance(event, Frame):
            journal.note(event, {})
            if names(seen) == ["a.png"]:
                (tmp_path / "in").rename(moved)
            else:
                stop.set()
        if isinstance(event, Notice) and "waiting" in event.text:
            picture("brick", 2).save(moved / "b.png")
            moved.rename(tmp_path / "in")
    assert names(seen) == ["a.png", "b.png"]
    assert [n.text.split(str(tmp_path))[1] for n in seen if isinstance(n, Notice)] == [
        "/in: No such file or directory; waiting for it",
        "/in is back",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named_once(tmp_path: Path, journal: Journal) -> None:
    (tmp_path / "in" / "a.png").touch(mode=0o000)
    found = until_idle(Folder(tmp_path / "in", journal), journal)
    assert len([event for event in found if isinstance(event, Skipped)]) == 1


def test_one_folder_is_watched_by_one_process(tmp_path: Path, journal: Journal) -> None:
    with refused("folder-busy", HomeError, "another process"):
        Journal(tmp_path / "home", tmp_path / "in")
    Journal(tmp_path / "home", tmp_path).close()


def test_a_journal_remembers_and_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    first = Journal(tmp_path, tmp_path)
    first.note(Frame("a", b"12", 1.5), {"label": "x"})
    first.note(Frame("b", b"123", 2.5), {"label": "y"})
    path = first.path
    first.told()
    first.close()
    again = Journal(tmp_path, tmp_path)
    assert again.last is None, "stopped in peace: everything was told"
    assert again.has("a", Stamp(1.5, 2))
    assert not again.has("a", Stamp(1.5, 3))
    again.close()
    with path.open("ab") as file:
        file.write(b'{"image": "c", "stamp": [3.5, 9], "ans')
    torn = Journal(tmp_path, tmp_path)
    torn.note(Frame("d", b"", 4.5), {"label": "z"})
    torn._file, keep = os.dup(torn._file), torn._file  # as a kill leaves it: no last words
    os.close(keep)
    os.close(torn._lock)
    last = Journal(tmp_path, tmp_path)
    assert [name for name in "abcd" if name in last._known] == ["a", "b", "d"]
    assert last.last == {"label": "z"}, "perhaps nobody heard of it"
    last.close()


def test_a_journal_forgets_what_has_been_gone_for_long(tmp_path: Path) -> None:
    journal = Journal(tmp_path, tmp_path)
    now = 1e9
    for number in range(TIDY):
        journal.note(Frame(f"old {number}", b"", now), {}, now - 8 * 86_400)
    journal.note(Frame("old but here", b"", 5.0), {}, 5.0)
    journal.note(Frame("an old photo on a stick", b"", 5.0), {}, now - 86_400)
    journal.tidy({"old but here"}, now)
    journal.note(Frame("new", b"", now), {"label": "x"})
    assert len(journal.path.read_bytes().splitlines()) == 3
    journal.close()
    again = Journal(tmp_path, tmp_path)
    assert sorted(again._known) == ["an old photo on a stick", "new", "old but here"]
    again.close()


def test_a_stream_that_is_cut_and_returns_goes_on(tmp_path: Path) -> None:
    with filming(lambda n: picture("brick", n)) as server:
        stop, seen, frames = threading.Event(), list[Event](), [0, 0]
        for event in open_source(server.url(), NOWHERE).frames(0.01, stop):
            seen.append(event)
            lost = any(isinstance(e, Notice) for e in seen)
            if isinstance(event, Frame):
                frames[lost] += 1
                Image.open(io.BytesIO(event.data)).load()
                server.up = frames[0] < 5 or lost
                if frames[1] == 5:
                    stop.set()
            if isinstance(event, Notice):
                server.up = True
    notices = [event.text for event in seen if isinstance(event, Notice)]
    assert [text.partition(" is ")[2].partition(":")[0] for text in notices] == ["gone", "back"]
    assert frames[1] == 5


def test_the_newest_frame_is_given_to_a_slow_reader() -> None:
    def show(number: int) -> Image.Image:
        image = Image.linear_gradient("L").resize((64, 64))  # one colour, or ever brighter, would be warming up
        image.paste(number % 256, (8, 16, 24, 32))
        return image

    with filming(show, fps=100) as server:
        stop, numbers = threading.Event(), list[int]()
        for event in open_source(server.url(), NOWHERE).frames(0.25, stop):
            if isinstance(event, Frame):
                numbers.append(server.number)
                assert server.number - _level(event.data) < 30, "no older than the last few"
                if len(numbers) == 4:
                    stop.set()
    assert numbers[-1] - numbers[0] > 20, "those between were left out"


def _level(data: bytes) -> int:
    level = Image.open(io.BytesIO(data)).convert("L").getpixel((16, 24))
    assert isinstance(level, int)
    return level


def test_one_picture_is_asked_for_again_and_again_with_a_password_that_is_never_shown() -> None:
    with filming(lambda n: picture("grass", n)) as server:
        server.password = "Basic bWU6c2VjcmV0"
        source = open_source(server.url("still?token=hidden", "me:secret@"), NOWHERE)
        assert "secret" not in source.name
        assert "hidden" not in source.name
        source = open_source(server.url("still", "me:secret@"), NOWHERE)
        stop, got = threading.Event(), list[Frame]()
        for event in source.frames(0.01, stop):
            if isinstance(event, Frame):
                got.append(event)
                if len({frame.data for frame in got}) == 3:
                    stop.set()
        cases = {"me:wrong@": "login-refused", "": "login-refused", "me:secret@": "stream-not-pictures"}
        for address, code in cases.items():
            with refused(code, SourceRefused, "text/html" if address == "me:secret@" else 401):
                path = "page" if address == "me:secret@" else "still"
                list(open_source(server.url(path, address), NOWHERE).frames(0.01, threading.Event()))


def test_a_film_gives_frames_by_its_own_time(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.avi", ["brick"] * 20, fps=10)
    frames = list(open_source(str(film), NOWHERE).frames(0.5, threading.Event()))
    assert [e.name.split()[-2] for e in frames if isinstance(e, Frame)] == ["0.00", "0.50", "1.00", "1.50"]
    assert isinstance(frames[0], Frame)
    pixel = Image.open(io.BytesIO(frames[0].data)).convert("RGB").resize((1, 1)).getpixel((0, 0))
    assert isinstance(pixel, tuple)
    assert pixel[0] > pixel[2] + 40, "brick is red: colours are in their order"


def test_video_of_another_kind_is_streamed_by_opencv(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.avi", ["brick"] * 30)
    with filming(lambda n: picture("brick", n)) as server:
        server.film = film.read_bytes()
        stop, seen = threading.Event(), list[Event]()
        for event in open_source(server.url("film"), NOWHERE).frames(0.01, stop):
            seen.append(event)
            if isinstance(event, Notice):
                stop.set()
    frames = [event for event in seen if isinstance(event, Frame)]
    assert frames
    assert Image.open(io.BytesIO(frames[-1].data)).size == (80, 80)
    assert any(isinstance(event, Notice) and "is gone: it ended" in event.text for event in seen)


def test_what_is_no_film_is_said_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed: the extra `camera`")
    (tmp_path / "film.mp4").write_text("no film")
    with refused("video-unreadable", SourceError, "film.mp4"):
        open_source(str(tmp_path / "film.mp4"), NOWHERE)


def test_a_camera_that_is_not_there_or_is_none_is_named(tmp_path: Path) -> None:
    with refused("camera-missing", SourceError):
        next(devices.device(str(tmp_path / "video0")))
    pytest.importorskip("cv2", reason="OpenCV is not installed: the extra `camera`")
    (tmp_path / "video0").write_bytes(b"no camera")
    with refused("camera-failed", SourceError):
        next(devices.device(str(tmp_path / "video0")))


def test_a_camera_that_this_user_may_not_open_is_refused_with_what_allows_it(
    tmp_path: Path, stranger: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "video0").touch()
    with refused("camera-denied", SourceRefused, stranger, "--group-add video"):
        next(devices.device(str(tmp_path / "video0")))
    monkeypatch.setenv("LOGNAME", "anna")
    with refused("camera-denied", SourceRefused, "sudo usermod --append --groups video anna"):
        next(devices.device(str(tmp_path / "video0")))


def test_a_missing_library_is_named_with_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    (tmp_path / "film.mp4").touch()
    for address in ("/dev/video0", "0", "rtsp://camera.local/live", str(tmp_path / "film.mp4")):
        with refused("library-missing", SourceError, "pip install 'edge-transfer[camera]'"):
            open_source(address, NOWHERE)


def test_a_virtual_environment_that_hides_picamera2_is_seen_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "picamera2", None)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / "pyvenv.cfg").write_text("include-system-site-packages = false\n")
    with refused("library-missing", SourceError, "--system-site-packages"):
        open_source("picamera", NOWHERE)
    (tmp_path / "pyvenv.cfg").write_text("include-system-site-packages = true\n")
    with refused("library-missing", SourceError, "sudo apt install python3-picamera2", "sudo apt install rpicam-apps"):
        open_source("picamera", NOWHERE)


def test_without_picamera2_the_program_rpicam_vid_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "film.mjpeg").write_bytes(b"".join(jpeg(picture("brick", seed)) for seed in range(5)))
    program = tmp_path / "rpicam-vid"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/args\ncat {tmp_path}/film.mjpeg\necho no camera >&2\nexit 1\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setitem(sys.modules, "picamera2", None)
    frames = list[bytes]()
    with refused("camera-failed", SourceError, "ended: no camera"):
        for frame in devices.pi_camera(1):
            frames.append(frame)
    assert frames == [jpeg(picture("brick", seed)) for seed in range(5)]
    assert "--camera 1" in (tmp_path / "args").read_text()
    assert "--codec mjpeg" in (tmp_path / "args").read_text()


@pytest.mark.parametrize("source", ["nowhere", "picamera:x", "/dev/null", "ftp://x/y", ""])
def test_what_is_no_source_is_said_in_one_line(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed: the extra `camera`")
    with refused("source-unknown", SourceError):
        open_source(source, NOWHERE)


def test_a_frozen_picture_is_told_once_and_that_it_moves_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "FROZEN_SECONDS", 0.3)
    shown = [0]
    with filming(lambda _: picture("brick", shown[0])) as server:
        stop, notices, frames = threading.Event(), list[Notice](), 0
        for event in open_source(server.url(), NOWHERE).frames(0.01, stop):
            if isinstance(event, Notice):
                notices.append(event)
                shown[0] += 1
                frames = 0
            frames += isinstance(event, Frame)
            if len(notices) == 2 and frames > 20:
                stop.set()
    assert [notice.frozen for notice in notices] == [True, False]
    assert all(notice.gone is None for notice in notices)


def test_a_picture_that_is_seldom_renewed_is_called_frozen_once_only() -> None:
    still, told = source._Repeats(), list[bool]()
    for second in range(600):
        changed = still.changed(b"picture %d" % (second // 60), float(second))
        told += [] if changed is None else [changed]
    assert told == [True, False]
