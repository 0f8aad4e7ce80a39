"""Pictures under way: waited for while they grow, read though they are replaced all the time, told when they rest."""

import contextlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from edge.answers import Skipped
from edge.camera import arrival, still
from edge.camera.folder import Folder, Journal, Notice
from edge.camera.source import Event, open_source
from edge.camera.still import Still, is_picture
from edge.picture.frame import Frame
from tests.edge.cameras import NOWHERE, jpeg, write_film
from tests.edge.conftest import picture

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "PPM", "TIFF")


def packed(form: str, seed: int = 1) -> bytes:
    file = io.BytesIO()
    picture("brick", seed, side=120).save(file, form)
    return file.getvalue()


@contextlib.contextmanager
def meanwhile(act: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run something in a thread until the end of the block."""
    over = threading.Event()
    thread = threading.Thread(target=act, args=(over,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    (tmp_path / "home").mkdir()
    (tmp_path / "in").mkdir()
    journal = Journal(tmp_path / "home", tmp_path / "in")
    yield Folder(tmp_path / "in", journal)
    journal.close()


def take(source: Folder | Still, count: int, every: float = 0.02, idle: int = 10**9) -> list[Event]:
    """The first events that are something, until there are so many, or so many looks gave none."""
    stop, found, nothing = threading.Event(), list[Event](), 0
    for event in source.frames(every, stop):
        nothing = nothing + 1 if event is None else 0
        found += [] if event is None else [event]
        if isinstance(event, Frame) and isinstance(source, Folder):
            source.journal.note(event, {})
        if len(found) >= count or nothing > idle:
            stop.set()
    return found


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_cut_is_under_way_and_what_is_whole_is_not(form: str) -> None:
    data = packed(form)
    assert not arrival.under_way(data)
    assert arrival.under_way(b"")
    for share in (0.3, 0.6, 0.9):
        part = data[: int(share * len(data))]
        assert arrival.under_way(part), share
        assert not arrival.ends_as_picture(part)
    assert not arrival.under_way(b"<html>not a picture</html>")


def test_a_picture_replaced_by_rename_all_the_time_is_answered(tmp_path: Path, folder: Folder) -> None:
    def replace(over: threading.Event) -> None:
        number = 0
        while not over.wait(0.01):
            (tmp_path / "next").write_bytes(packed("JPEG", number := number + 1))
            (tmp_path / "next").rename(tmp_path / "in" / "latest.jpg")

    with meanwhile(replace):
        found = take(folder, 3, every=0.1)
    assert all(isinstance(event, Frame) for event in found)
    assert len({event.data for event in found if isinstance(event, Frame)}) == 3


def test_pictures_that_each_live_for_a_moment_are_answered(tmp_path: Path, folder: Folder) -> None:
    def come_and_go(over: threading.Event) -> None:
        number = 0
        while not over.wait(0.03):
            (tmp_path / "next").write_bytes(packed("PNG", number := number + 1))
            (tmp_path / "next").rename(tmp_path / "in" / f"{number}.png")
            (tmp_path / "in" / f"{number - 1}.png").unlink(missing_ok=True)

    with meanwhile(come_and_go):
        assert len([event for event in take(folder, 3, every=0.1) if isinstance(event, Frame)]) == 3


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "PPM"])
def test_a_slow_upload_is_waited_for_however_long_it_rests(tmp_path: Path, folder: Folder, form: str) -> None:
    data = packed(form)
    path = tmp_path / "in" / f"slow.{form.lower()}"

    def upload(over: threading.Event) -> None:
        for at in range(6):
            with path.open("ab") as file:
                file.write(data[at * len(data) // 6 : (at + 1) * len(data) // 6])
            over.wait(0.2)

    with meanwhile(upload):
        (event,) = take(folder, 1)
    assert isinstance(event, Frame)
    assert event.data == data


def test_a_file_that_stays_incomplete_is_told_once_and_read_when_it_is_mended(
    tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival, "PATIENCE", 0.3)
    path = tmp_path / "in" / "a.jpg"
    path.write_bytes(packed("JPEG")[:900])
    found = take(folder, 9, idle=60)
    path.write_bytes(packed("JPEG")[:1100])
    found += take(folder, 9, idle=60)
    (told,) = found
    assert isinstance(told, Skipped)
    assert "is incomplete" in told.reason
    assert "delete" not in told.reason
    path.write_bytes(packed("JPEG"))
    assert [type(event) for event in take(folder, 1)] == [Frame]


def test_an_old_file_that_is_cut_is_told_at_once(tmp_path: Path, folder: Folder) -> None:
    (tmp_path / "in" / "a.jpg").write_bytes(packed("JPEG")[:900])
    os.utime(tmp_path / "in" / "a.jpg", (1000, 1000))
    assert [type(event) for event in take(folder, 1, idle=20)] == [Skipped]


@pytest.mark.parametrize("suffix", sorted(arrival.UNDER_WAY))
def test_a_file_called_as_under_way_is_taken_under_its_last_name(tmp_path: Path, folder: Folder, suffix: str) -> None:
    early = tmp_path / "in" / f"a.jpg{suffix}"
    early.write_bytes(packed("JPEG"))
    assert take(folder, 1, idle=10) == []
    early.rename(tmp_path / "in" / "a.jpg")
    (event,) = take(folder, 1)
    assert isinstance(event, Frame)
    assert event.name.endswith("a.jpg")


def test_what_systems_put_into_folders_is_left_alone_and_content_is_what_counts(tmp_path: Path, folder: Folder) -> None:
    (tmp_path / "in" / "@eaDir").mkdir()
    for name in ("@eaDir/thumb.jpg", "._a.jpg", "notes.txt", "photo"):
        (tmp_path / "in" / name).write_bytes(packed("JPEG") if name != "notes.txt" else b"hello")
    assert [Path(event.name).name for event in take(folder, 9, idle=15) if isinstance(event, Frame)] == ["photo"]


# one picture file ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_one_picture_file_is_read_again_when_it_changes(tmp_path: Path, form: str) -> None:
    path = tmp_path / "latest"
    path.write_bytes(packed(form, 0))
    source = open_source(str(path), NOWHERE)
    assert isinstance(source, Still)
    stop, got = threading.Event(), list[bytes]()
    idle = 0
    for event in source.frames(0.02, stop):
        idle = idle + 1 if event is None else 0
        if isinstance(event, Frame):
            got.append(event.data)
            assert event.name == str(path)
        if idle == 20 and len(got) == 3:
            stop.set()
        elif idle == 10 and len(got) < 3:  # it does not end, and gives nothing twice
            (tmp_path / "next").write_bytes(packed(form, len(got)))
            (tmp_path / "next").rename(path)
    assert got == [packed(form, number) for number in range(3)]


def test_a_picture_file_that_is_written_in_place_or_away_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "latest.jpg"
    path.touch()

    def write(over: threading.Event) -> None:
        data = packed("JPEG", 5)
        for at in range(4):
            with path.open("ab") as file:
                file.write(data[at * len(data) // 4 : (at + 1) * len(data) // 4])
            over.wait(0.1)

    source = open_source(str(path), NOWHERE)
    with meanwhile(write):
        (event,) = take(source, 1)  # type: ignore[arg-type]
    assert isinstance(event, Frame)
    assert event.data == packed("JPEG", 5)
    stop, notices = threading.Event(), list[Notice]()
    for happened in source.frames(0.02, stop):
        if isinstance(happened, Frame):
            path.unlink(missing_ok=True)
        if isinstance(happened, Notice):
            notices.append(happened)
            path.write_bytes(packed("JPEG", 6))
            if len(notices) == 2:
                stop.set()
    assert [notice.gone for notice in notices] == [True, False]


def test_a_picture_file_that_nobody_renews_any_more_is_called_frozen_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(still, "STALE", 0.3)
    monkeypatch.setattr(still, "STALE_FACTOR", 1.5)
    path = tmp_path / "latest.jpg"
    path.write_bytes(packed("JPEG", 0))
    stop, told, seeds = threading.Event(), list[bool | None](), iter(range(1, 9))
    frames = 0
    for event in Still(path).frames(0.02, stop):
        frames += isinstance(event, Frame)
        if isinstance(event, Notice):
            told.append(event.frozen)
            if event.frozen is False:
                stop.set()
        if (isinstance(event, Frame) and frames < 3) or told == [True]:
            time.sleep(0.05)
            path.write_bytes(packed("JPEG", next(seeds)))
    assert told == [True, False]


def test_a_picture_is_told_from_a_film(tmp_path: Path) -> None:
    frames = [picture("brick", seed) for seed in range(3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "one.gif")
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(40))
    (tmp_path / "photo").write_bytes(jpeg(Image.new("RGB", (40, 40), "red")))
    assert not is_picture(tmp_path / "moving.gif")
    assert is_picture(tmp_path / "one.gif")
    assert not is_picture(tmp_path / "film.mp4")
    assert is_picture(tmp_path / "photo")
    assert not is_picture(write_film(tmp_path / "film.avi", ["brick"] * 3))
