"""Networks are ranked on the photos; the fastest of those that are as good is the one to take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import BundleError
from export.compare import rank as module
from export.compare.baselines import Baselines, loo_right, tiny_pixels
from export.compare.material import clearly_better
from export.compare.rank import Candidate, advise, plot, rank
from tests.export.adapting import enter_tiny, striped_photos, tiny_weights
from tests.refused import refused

pytestmark = [pytest.mark.converters, pytest.mark.usefixtures("exported_once")]


@pytest.fixture(autouse=True)
def tiny_table(monkeypatch: pytest.MonkeyPatch) -> None:
    enter_tiny(monkeypatch)


def test_every_candidate_is_measured_and_the_fastest_of_the_good_is_taken(tmp_path: Path, listener: Any) -> None:
    weights = str(tiny_weights(tmp_path / "tiny.pth"))
    candidates = [Candidate("tiny", weights, 32), Candidate("tiny", weights, 48), Candidate("tiny", "missing.pth", 32)]
    found = rank(striped_photos(tmp_path / "photos"), candidates, listener)
    assert {one.candidate for one in found.ranked} == set(candidates[:2])
    assert [one.accuracy for one in found.ranked] == sorted((one.accuracy for one in found.ranked), reverse=True)
    as_good = [one for one in found.ranked if not clearly_better(found.ranked[0].right, one.right)]
    assert found.take.milliseconds == min(one.milliseconds for one in as_good)
    assert len(found.failed) == 1
    assert found.failed[0].startswith("tiny=missing.pth 32: weights file missing.pth does not exist; ")
    assert len({one.candidate.name for one in found.ranked}) == 2
    assert all(one.bytes > 1000 and one.milliseconds > 0 for one in found.ranked)
    assert found.baselines.photos == found.photos == 80
    plot(found, tmp_path / "plot.svg")
    assert "tiny 48" in (tmp_path / "plot.svg").read_text()


def test_without_one_network_to_compare_the_reason_is_said(photo_folder: Callable[..., Path], listener: Any) -> None:
    with refused("backbone-unknown", BundleError, "tiny=missing.pth 32"):
        rank(photo_folder(cup=3, plate=3), [Candidate("tiny", "missing.pth", 32)], listener)


def test_of_very_many_photos_some_of_each_class_are_asked(
    tmp_path: Path, listener: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PHOTOS", 21)
    weights = str(tiny_weights(tmp_path / "tiny.pth"))
    found = rank(striped_photos(tmp_path / "photos"), [Candidate("tiny", weights, 32)], listener)
    assert found.photos == 21


@pytest.mark.parametrize(
    ("accuracy", "smallest", "blind", "says"),
    [
        (0.99, 100, False, "little to add"),
        (0.85, 100, False, "may help"),
        (0.85, 100, True, "will probably help"),
        (0.85, 12, False, "too few photos"),
    ],
)
def test_the_advice_follows_what_was_measured(accuracy: float, smallest: int, blind: bool, says: str) -> None:
    assert says in advise(accuracy, smallest, blind)


@pytest.mark.parametrize(
    ("pretrained", "random", "pixels", "warned"),
    [(0.9, 0.7, 0.6, ""), (0.7, 0.69, 0.6, "an untrained network"), (0.7, 0.5, 0.75, "16 × 16 pixels")],
)
def test_pretraining_that_is_worth_nothing_is_said(
    pretrained: float, random: float, pixels: float, warned: str
) -> None:
    warning = Baselines(pretrained, random, pixels, 100).warning
    assert warned in warning
    assert bool(warning) == bool(warned)


def test_tiny_pixels_are_mean_colours_whatever_the_light() -> None:
    picture = np.random.default_rng(0).integers(50, 200, (1, 40, 40, 3)).astype(np.uint8)
    np.testing.assert_allclose(tiny_pixels(picture), tiny_pixels(picture + np.uint8(20)), atol=1e-3)
    cells = tiny_pixels(picture[:, :32, :32]).reshape(16, 16, 3)
    small = picture[0, :32, :32].astype(float)
    np.testing.assert_allclose(cells[2, 3], small[4:6, 6:8].mean((0, 1)) - small.mean((0, 1)), atol=1e-3)


def test_an_example_alone_of_its_label_is_never_named_rightly() -> None:
    embeddings = np.eye(5, 4, dtype=np.float32)
    assert not loo_right(embeddings, ["a", "a", "a", "a", "b"])[4]
