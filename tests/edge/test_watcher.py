"""`Watcher`: frames and answers in a loop of one's own, stopped from anywhere, told of what goes wrong."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge import Learner, SourceError, Watcher
from edge.testing import FakeCamera, new_learner, surface, write_photos


@pytest.fixture
def learner(tmp_path: Path) -> Iterator[Learner]:
    with new_learner(tmp_path / "home") as opened:
        opened.retrain(known_coverage=1)  # so that each surface has its name
        yield opened


def shows(*labels: str) -> FakeCamera:
    return FakeCamera(surface(label, seed) for seed, label in enumerate(labels))


def test_a_label_settles_when_enough_frames_agree_and_changes_once(learner: Learner) -> None:
    answers = list(Watcher(learner, shows(*["brick"] * 6, "grass", *["brick"] * 3, *["grass"] * 6)))
    assert [answer.settled for answer in answers if answer.changed] == ["brick", "grass"]
    assert [answer.label for answer in answers[:7]] == ["brick"] * 6 + ["grass"]
    quick = Watcher(learner, shows("brick", "grass"), smooth="1/1")
    assert [answer.settled for answer in quick] == ["brick", "grass"]
    with pytest.raises(SourceError, match="half"):
        Watcher(learner, shows("brick"), smooth="1/2")


def test_a_frame_can_be_taught_and_classified_again(learner: Learner) -> None:
    answers = list(Watcher(learner, shows("coins", "coins")))
    assert len(learner.teach("coins", [answer.frame for answer in answers]).examples) == 2
    again = learner.classify([answer.frame for answer in answers])
    assert [one.top for one in again] == [answer.top for answer in answers]


def test_a_camera_that_is_gone_is_said_so_and_what_was_settled_is_forgotten(learner: Learner) -> None:
    said: list[str] = []
    camera = FakeCamera([*[surface("brick", n) for n in range(4)], None, *[surface("brick", n) for n in range(2)]])
    answers = list(Watcher(learner, camera, say=said.append))
    assert said == ["fake camera is gone; waiting for it", "fake camera is back"]
    assert [answer.settled for answer in answers] == [None, None, "brick", "brick", None, None]


def test_a_frame_that_cannot_be_read_is_said_so_and_the_loop_goes_on(learner: Learner, tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    said: list[str] = []
    camera = FakeCamera([surface("brick", 1), tmp_path / "torn.png", surface("brick", 2)])
    assert len(list(Watcher(learner, camera, say=said.append))) == 2
    assert len(said) == 1
    assert said[0].startswith("skipped: fake camera 2 ")


def test_the_loop_ends_by_stop_from_another_thread_and_by_break(learner: Learner, tmp_path: Path) -> None:
    endless = FakeCamera(surface("brick", n) for n in iter(int, 1))
    watcher = Watcher(learner, endless)
    stopper = threading.Thread(target=watcher.stop)
    for number, _ in enumerate(watcher):
        if number == 3:
            stopper.start()
    stopper.join()
    assert list(watcher) == [], "stopped is stopped"
    for _ in Watcher(learner, endless):
        break
    folder = tmp_path / "watched"
    folder.mkdir()
    waiting = Watcher(learner, folder)  # for pictures that never come
    timer = threading.Timer(0.3, waiting.stop)
    timer.start()
    assert list(waiting) == []
    timer.join()


def test_a_folder_is_answered_once_also_by_the_next_program(learner: Learner, tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", {"brick": 3}, first=50) / "brick"

    def seen(most: int) -> list[str]:
        names: list[str] = []
        watcher = Watcher(learner, str(folder), every=0.05)
        for answer in watcher:
            names.append(Path(answer.image).name)
            if len(names) == most:
                watcher.stop()
        return names

    assert len(seen(2)) == 2
    write_photos(tmp_path / "photos", {"brick": 1}, first=60)
    assert sorted(seen(2)) == ["brick_052.png", "brick_060.png"]


def test_a_retrain_in_another_thread_serves_from_the_next_frame_on(learner: Learner) -> None:
    learner.teach("coins", [surface("coins", seed) for seed in range(20, 30)])
    before = learner.status().generation
    answers = []
    for answer in Watcher(learner, shows(*["coins"] * 10)):
        answers.append(answer)
        if len(answers) == 5:
            thread = threading.Thread(target=learner.retrain, kwargs={"force": True})
            thread.start()
            thread.join()
    assert [answer.generation for answer in answers] == [before] * 5 + [before + 1] * 5
    assert answers[-1].label == "coins"


@pytest.mark.parametrize("source", ["nowhere.avi", Path("nowhere"), "ftp://camera/stream", "rtsp:camera"])
def test_what_is_no_source_is_one_line_when_the_loop_starts(learner: Learner, source: str | Path) -> None:
    with pytest.raises(SourceError) as raised:
        list(Watcher(learner, source))
    assert "\n" not in str(raised.value)


def test_an_address_is_not_taken_for_a_path(learner: Learner) -> None:
    said: list[str] = []
    watcher = Watcher(learner, "http://127.0.0.1:9/stream", say=lambda line: (said.append(line), watcher.stop()))
    assert list(watcher) == []
    assert said[0].startswith("127.0.0.1:9/stream ")


def test_the_fake_camera_gives_single_pictures_as_picamera2_does() -> None:
    camera = FakeCamera([surface("brick", 1), None, surface("grass", 1)])
    for label in ("brick", "grass"):
        assert (camera.capture_array("main") == np.asarray(surface(label, 1))).all()
    with pytest.raises(SourceError, match="all"):
        camera.capture_array()
