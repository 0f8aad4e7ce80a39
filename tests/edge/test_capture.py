"""Capturing: a burst teaches what differs, once, under one session."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from edge.learner import Learner
from edge.learning.domain_check import Looks
from edge.picture.given import frame
from edge.testing import INFO, FakeNetwork, surface, write_bundle, write_photos
from edge.unknown import domain
from edge.unknown.domain import Domain

from .cameras import filming, write_film
from .conftest import Run, picture


def test_a_burst_is_one_session_without_the_frames_that_are_alike(ready: Run, tmp_path: Path) -> None:
    with filming(lambda n: picture("coins", n // 10)) as camera:
        code, out, err = ready("capture", "coins", camera.url(), "--count", 6, "--every", 0.02, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["label"], len(result["examples"])) == ("coins", 6)
    assert result["alike"] > 6, "each was shown ten times"
    with Learner(tmp_path / "home") as learner:
        taught = learner.store.examples(label="coins")
    assert {example.session for example in taught} == {result["session"]}
    assert "127.0.0.1" in taught[0].source
    with filming(lambda n: picture("coins", 100 + n)) as camera:
        assert ready("capture", "coins", camera.url(), "--count", 3, "--every", 0.02, "--session", "evening")[0] == 0
    assert ready("retrain")[0] == 0
    code, out, _ = ready("forget", "--session", "evening")
    assert "forgot 3 examples" in out


def test_a_burst_ends_in_time_though_nothing_moves(ready: Run) -> None:
    with filming(lambda _: picture("coins", 1)) as camera:
        code, out, _ = ready("capture", "coins", camera.url(), "--seconds", 4, "--every", 0.02)
    assert code == 0
    assert "1 new example of 'coins'" in out
    assert "these are few; move the object or the light while capturing" in out


def test_a_camera_that_is_not_there_is_said(ready: Run) -> None:
    with filming(lambda _: picture("coins", 1)) as camera:
        camera.up = False
        code, out, err = ready("capture", "coins", camera.url(), "--seconds", 0.5)
    assert code == 3
    assert "gave no frame in 0.5 s" in out
    assert "gives no picture: it answered 503" in err


def test_a_film_teaches_too_and_a_folder_is_sent_to_teach(ready: Run, tmp_path: Path) -> None:
    code, _, err = ready("capture", "coins", tmp_path)
    assert code == 2
    assert f"edge teach coins {tmp_path}" in err
    film = write_film(tmp_path / "film.avi", ["coins"] * 8)
    code, out, _ = ready("capture", "coins", film, "--every", 0.1)
    assert code == 0
    assert "8 new examples of 'coins' from 8 frames" in out
    code, out, _ = ready("capture", "coins", film, "--every", 0.1)
    assert "0 new examples" in out, "known already"
    ready("forget", "--session", json.loads(ready("examples", "--json")[1])["examples"][0]["session"])
    assert "'Brick' is a new label beside 'brick'" in ready("capture", "Brick", film, "--every", 0.1)[1]


def test_the_region_given_to_capture_is_that_of_watch(tmp_path: Path, tiny_bundle: Path, ready: Run) -> None:
    with filming(lambda n: picture("coins", n, side=80)) as camera:
        code, _, err = ready(
            "capture", "coins", camera.url(), "--count", 2, "--every", 0.02, "--region", "0,0.25,0.5,0.5"
        )
    assert code == 0
    assert "warning" not in err
    assert json.loads(ready("status", "--json")[1])["region"] == "0,0.25,0.5,0.5"
    assert "region      0,0.25,0.5,0.5" in ready("status")[1]
    _, _, err = ready("watch", tmp_path / "nowhere", "--region", "whole")
    assert "warning: 2 examples taught on another part of the picture" in err
    assert json.loads(ready("status", "--json")[1])["region"] is None


@pytest.mark.parametrize("region", ["0,0,2,1", "here"])
def test_a_region_that_is_none_changes_nothing(ready: Run, tmp_path: Path, region: str) -> None:
    code, _, err = ready("watch", tmp_path, "--region", region)
    assert code == 1
    assert err.startswith("error: region ")
    assert json.loads(ready("status", "--json")[1])["region"] is None


def test_frames_are_taught_as_files_are(tmp_path: Path, tiny_bundle: Path) -> None:
    from edge.picture.frame import Frame

    path = tmp_path / "a.png"
    picture("coins", 5).save(path)
    with Learner.init(tmp_path / "home", tiny_bundle) as learner:
        first = learner.teach("coins", [Frame("camera", path.read_bytes(), 0.0)])
        again = learner.teach("coins", [path])
        assert (len(first.examples), len(again.known)) == (1, 1)
        assert learner.store.examples()[0].source == "camera"


def test_a_nightly_retrain_makes_a_generation_only_of_something_new(ready: Run, tmp_path: Path) -> None:
    code, out, err = ready("retrain", "--if-taught")
    assert (code, out, err) == (0, "", "no example was taught or relabelled since the last training\n")
    picture("coins", 5).save(tmp_path / "a.png")
    ready("teach", "coins", tmp_path / "a.png")
    assert "generation 2 is in use" in ready("retrain", "--if-taught")[1]
    assert ready("retrain", "--if-taught")[1] == ""
    ready("relabel", "grass", "1")
    assert "(1 taught or relabelled since; run: edge retrain)" in ready("status")[1]
    assert "generation 3 is a candidate" in ready("retrain", "--if-taught")[1]  # it has lost the coins
    assert ready("retrain", "--if-taught")[1] == ""
    ready("relabel", "grass", "1")  # which it is already
    ready("rename", "grass", "lawn")  # nothing to fit anew
    assert ready("retrain", "--if-taught")[1] == ""
    ready("forget", "1")  # makes a generation itself
    assert ready("retrain", "--if-taught")[1] == ""


def test_a_nightly_retrain_does_not_undo_a_rollback(ready: Run, tmp_path: Path) -> None:
    picture("coins", 5).save(tmp_path / "a.png")
    ready("teach", "coins", tmp_path / "a.png")
    ready("retrain")
    ready("rollback")
    assert ready("retrain", "--if-taught")[1] == ""
    assert json.loads(ready("status", "--json")[1])["generation"] == 1


def test_a_label_that_nobody_taught_is_pointed_at(ready: Run, tmp_path: Path) -> None:
    code, _, err = ready("watch", tmp_path / "nowhere", "--on", "gras", "true")
    assert code == 1
    assert "warning: --on gras: there is no such label yet; the labels are brick, grass, gravel" in err


def test_what_a_camera_gives_while_it_warms_up_is_not_taught(ready: Run, tmp_path: Path) -> None:
    def show(number: int) -> Image.Image:
        if number < 10:
            return Image.new("RGB", (40, 40), "black" if number < 6 else (0, 135, 0))
        return ImageEnhance.Brightness(picture("coins", number)).enhance(min(1.0, number / 40))

    with filming(show) as camera:
        code, out, err = ready("capture", "coins", camera.url(), "--count", 5, "--every", 0.02, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["blank"], result["complaints"]) == (0, [])
    with Learner(tmp_path / "home") as learner:
        assert len(learner.store.examples(label="coins")) == 5
    assert camera.number > 40


@pytest.mark.parametrize("colour", ["black", (0, 135, 0), "white"])
def test_a_burst_that_shows_nothing_is_not_taught_and_said(ready: Run, tmp_path: Path, colour: str) -> None:
    with filming(lambda _: Image.new("RGB", (40, 40), colour)) as camera:
        code, out, err = ready("capture", "coins", camera.url(), "--seconds", 0.5, "--every", 0.02)
    assert code == 3
    assert "0 new examples of 'coins'" in out
    assert "a single colour" in out
    assert err.count("shows a single colour") == 1, "at once, and once"
    with Learner(tmp_path / "home") as learner:
        assert not learner.store.examples(label="coins")


def test_what_teach_says_of_pictures_capture_says_too(
    ready: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Domain(np.array([[180, 220, 250], [0, 0, 0.1], [90, 150, 240], [-30, -4, 90], [0, 10, 90]], np.float32))
    monkeypatch.setattr(
        "edge.learning.domain_check.Looks.complaints", lambda self, numbers: domain.complaints(numbers, usual)
    )
    with filming(lambda n: ImageEnhance.Brightness(picture("coins", n // 9)).enhance(0.2)) as camera:
        code, out, err = ready("capture", "coins", camera.url(), "--count", 1, "--every", 0.02, "--session", "my burst")
        assert code == 0
        assert err.count("warning:") == 1
        assert "too dark" in err
        assert "too dark" in out
        assert "edge forget --session 'my burst'" in out
        code, out, _ = ready("capture", "coins", camera.url(), "--count", 1, "--every", 0.02, "--json")
    assert any("too dark" in line for line in json.loads(out)["complaints"])


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_frame_is_compared_with_the_bundles_photos_as_the_network_sees_it(
    fit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle(tmp_path / "tiny.edge", write_photos(tmp_path / "photos"), info=replace(INFO, fit=fit))
    wide = frame(surface("brick", seed=1).resize((120, 40)), "door", 0.0)
    with Learner.init(tmp_path / "home", bundle, network=FakeNetwork()) as learner:
        looks, (photo,) = Looks(learner), learner.embed([wide], look=True)
        monkeypatch.setattr(looks, "complaints", lambda statistics: statistics.tolist())
        assert photo.look is not None
        assert looks.complaints_about(wide) == photo.look.statistics.tolist()
