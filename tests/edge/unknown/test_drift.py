"""Drift: an alarm where frames are unlike what was taught, and none where one scene or one label is seen for long."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.answers import Drift
from edge.learner import Learner
from edge.unknown.drift import WINDOW, FrameNote, drift_of, note
from tests.edge.conftest import write_pictures
from tests.edge.home.test_trust import trusted_bundle  # noqa: F401  # a fixture


def told(ranks: list[int], looks: list[str] | None = None, expected: float = 0.05) -> Drift:
    seen = [FrameNote(rank, look) for rank, look in zip(ranks, looks or [""] * len(ranks), strict=True)]
    found = drift_of(note(None, 1, seen, expected), 1)
    assert found is not None
    return found


@pytest.mark.parametrize("rank", [0, 12, 24, 50, 99])
@pytest.mark.parametrize("frames", [20, 60, 200])
def test_one_scene_that_is_known_raises_no_alarm_however_usual_it_is(rank: int, frames: int) -> None:
    assert not told([rank] * frames).drifted


@pytest.mark.parametrize("frames", [20, 60, 200])
def test_many_unknown_frames_raise_it_and_the_share_that_was_asked_for_does_not(frames: int) -> None:
    for expected in (0.01, 0.05, 0.2, 0.5):
        usual = round(expected * frames)
        assert not told([-1] * usual + [50] * (frames - usual), expected=expected).drifted
    assert told([-1] * (frames // 2) + [50] * (frames // 2)).drifted
    assert told([-1] * frames, expected=0.5).drifted


def test_a_look_that_most_frames_have_raises_it_and_a_few_spoilt_ones_do_not() -> None:
    assert told([50] * 40, ["too dark"] * 21 + [""] * 19).look == "too dark"
    assert told([50] * 40, ["too dark"] * 21 + [""] * 19).drifted
    assert not told([50] * 40, ["blurred"] * 15 + [""] * 25).drifted


def test_what_an_older_program_kept_is_read_and_what_is_damaged_is_nothing() -> None:
    old = json.dumps({"generation": 1, "expected": 0.05, "ranks": [50] * 30})
    found = drift_of(note(old, 1, [FrameNote(50, "noisy")], 0.05), 1)
    assert found is not None
    assert (found.frames, found.look) == (31, "")
    for broken in ("", "NaN", '{"generation": 1, "expected": NaN, "ranks": [1]}', old.replace("50", "101", 1)):
        assert drift_of(broken, 1) is None
    assert len(json.loads(note(old, 1, [FrameNote(1, "")] * 500, 0.05))["ranks"]) == WINDOW


def spoilt(folder: Path, source: Path, factor: float) -> Path:
    """Write darker pictures, each of its own."""
    folder.mkdir()
    for file in sorted(source.iterdir()):
        with Image.open(file) as image:
            Image.fromarray((factor * np.asarray(image)).astype(np.uint8)).save(folder / file.name)
    return folder


def classified(home: Path, *folders: Path) -> Drift:
    with Learner(home) as learner:
        files = [file for folder in folders for file in sorted(folder.iterdir())]
        assert len(list(learner.classify(files))) == len(files)
    with Learner(home) as learner:
        drift = learner.status().drift
        assert drift is not None
        return drift


def test_dark_frames_raise_it_until_dark_pictures_are_what_is_taught_here(
    trusted_bundle: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    new = write_pictures(tmp_path / "new", {"brick": 50, "grass": 50}, first=300)
    home = tmp_path / "home"
    Learner.init(home, trusted_bundle).close()
    assert not classified(home, new / "brick").drifted, "one label alone"
    dark = {label: spoilt(tmp_path / label, new / label, 0.3) for label in ("brick", "grass")}
    with Learner(home) as learner:
        learner.retrain()  # another head, which has seen no frame
    assert classified(home, *dark.values()).look == "too dark"
    with Learner(home) as learner:
        for label, folder in dark.items():
            learner.teach(label, sorted(folder.iterdir())[:25])
        learner.retrain(force=True)
    night = [tmp_path / f"night {label}" for label in dark]
    for folder, source in zip(night, dark.values(), strict=True):
        folder.mkdir()
        for file in sorted(source.iterdir())[25:]:
            file.rename(folder / file.name)
    assert not classified(home, *night).drifted
