"""The figure beside a bundle says what it is worth: groups, bursts, labels without one, photos that show nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.errors import DatasetError
from export.bundle.build import build
from export.bundle.plan import Built, Plan
from tests.export.cli.test_cli import run
from tests.export.convert.test_own_model import CREATED, model, write
from tests.refused import refused

pytestmark = pytest.mark.usefixtures("exported_once")

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


class Quiet:
    """A listener that nobody hears."""

    def doing(self, what: str) -> None: ...
    def step(self, done: int, total: int) -> None: ...
    def said(self, line: str) -> None: ...


def bursts(folder: Path, labels: int = 2, cams: int = 4, frames: int = 6) -> Path:
    """Class folders of frames of several cameras: each camera sees one colour, the label has no part in it."""
    random = np.random.default_rng(0)
    for label in range(labels):
        place = folder / "photos" / f"label{label}"
        place.mkdir(parents=True)
        for cam in range(cams):
            colour = random.integers(40, 215, 3)
            for frame in range(frames):
                pixels = np.clip(colour + random.normal(0, 3, (40, 40, 3)), 0, 255).astype(np.uint8)
                pixels[:20, :20] //= 2
                Image.fromarray(pixels).save(place / f"cam{cam}_{frame:04}.png")
    return folder / "photos"


def made(folder: Path, photos: Path, **options: object) -> Built:
    path = write(folder / "theirs.onnx", model(np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32)))
    return build(Plan(photos, folder / "x.edge", CREATED, model=path, **options), Quiet())  # type: ignore[arg-type]


@pytest.mark.parametrize("by", ["prefix", r"(cam\d)", r"label\d/cam\d"])
def test_groups_go_into_the_bundle_and_are_never_on_both_sides(tmp_path: Path, by: str) -> None:
    built = made(tmp_path, bursts(tmp_path), group_by=by)
    groups = built.bundle.examples().groups
    assert (groups == built.groups).all()
    assert len(set(groups.tolist())) == (4 if by == r"(cam\d)" else 8)
    assert built.evaluation is not None
    assert built.evaluation.examples % 6 == 0  # whole bursts only
    assert built.bursts.labels == ()


def test_bursts_without_groups_are_told_beside_a_figure_that_is_far_too_good(
    capfd: Capture, monkeypatch: Patch, tmp_path: Path
) -> None:
    photos = bursts(tmp_path, labels=3)
    path = write(tmp_path / "theirs.onnx", model(np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32)))
    command = ["build", photos, "-o", tmp_path / "x.edge", "--model", path]
    code, out, _ = run(capfd, monkeypatch, *command)
    assert code == 0
    assert "look like bursts of one camera; the accuracy may be far too high: give --group-by prefix" in out
    flattered = json.loads(run(capfd, monkeypatch, *command, "--json")[1])
    assert flattered["bursts"] == ["label0", "label1", "label2"]
    assert len(flattered["warnings"]) == 1
    honest = json.loads(run(capfd, monkeypatch, *command, "--group-by", "prefix", "--json")[1])
    assert (honest["bursts"], honest["warnings"], honest["group_by"], honest["groups"]) == ([], [], "prefix", 12)
    assert honest["accuracy"]["accuracy"] < flattered["accuracy"]["accuracy"] - 0.3


def test_a_grouping_that_is_neither_a_word_nor_an_expression_is_wrong_usage(
    capfd: Capture, monkeypatch: Patch, tmp_path: Path
) -> None:
    for command in ("build", "adapt", "compare"):
        output = [] if command == "compare" else ["-o", tmp_path / "x"]
        code, out, err = run(capfd, monkeypatch, command, tmp_path, *output, "--group-by", "cam(")
        assert (code, out) == (2, "")
        assert "neither one of prefix, folder, session nor a regular expression" in err


def test_a_label_that_was_not_measured_is_named_beside_the_figure(
    capfd: Capture, monkeypatch: Patch, tmp_path: Path
) -> None:
    photos = bursts(tmp_path)
    (photos / "roses").mkdir()
    Image.new("RGB", (40, 40), (200, 0, 40)).save(photos / "roses" / "1.png")
    built = made(tmp_path, photos)
    assert [one.label for one in built.unmeasured] == ["roses"]
    assert built.unmeasured[0].reason.startswith("roses was not measured: its only photo")
    command = ["build", photos, "-o", tmp_path / "x.edge", "--model", tmp_path / "theirs.onnx"]
    assert "\nroses was not measured: " in run(capfd, monkeypatch, *command)[1]
    grouped = made(tmp_path, photos, group_by="folder")
    assert grouped.evaluation is None  # every label is one group


def test_photos_that_show_nothing_are_counted_and_five_named(
    capfd: Capture, monkeypatch: Patch, tmp_path: Path
) -> None:
    photos = bursts(tmp_path)
    for index in range(7):
        shape = Image.new("RGBA", (40 + index, 40), (255, 255, 255, 0))
        shape.paste((255, 255, 255, 255), (10, 10, 20, 20))
        shape.save(photos / "label0" / f"icon{index}.png")
    Image.new("RGB", (40, 40)).save(photos / "label1" / "lens cap.png")
    built = made(tmp_path, photos)
    assert {odd.word: len(odd.paths) for odd in built.odd} in (
        {"all white": 7, "all black": 1},
        {"all black": 8},  # what lies under a transparent background is the reader's to say
    )
    command = ["build", photos, "-o", tmp_path / "x.edge", "--model", tmp_path / "theirs.onnx"]
    out = run(capfd, monkeypatch, *command)[1]
    line = next(line for line in out.splitlines() if "icon0.png" in line)
    assert line.startswith("warning: ")
    assert line.count("icon") == 5
    assert sum(len(odd["paths"]) for odd in json.loads(run(capfd, monkeypatch, *command, "--json")[1])["odd"]) == 8


def test_a_photo_under_two_labels_teaches_neither(capfd: Capture, monkeypatch: Patch, tmp_path: Path) -> None:
    photos = bursts(tmp_path)
    shutil.copy(photos / "label0" / "cam0_0000.png", photos / "label1" / "other.png")
    shutil.copy(photos / "label0" / "cam0_0001.png", photos / "label0" / "z.png")
    built = made(tmp_path, photos)
    assert built.examples == {"label0": 23, "label1": 24}
    assert {one.path.name: one.reason for one in built.skipped} == {
        "cam0_0000.png": "contradicts", "other.png": "contradicts", "z.png": "copy",
    }  # fmt: skip
    assert (built.files.seen, built.files.read) == (50, 47)
    command = ["build", photos, "-o", tmp_path / "x.edge", "--model", tmp_path / "theirs.onnx"]
    code, out, err = run(capfd, monkeypatch, *command)
    assert code == 0
    assert all(word in err for word in ("cam0_0000.png", "other.png", "label0", "label1"))
    assert "50 files: 47 read, 3 left out: 2 under two labels" in out


def test_the_reason_of_a_refusal_is_of_that_label(tmp_path: Path) -> None:
    photos = bursts(tmp_path)
    (photos / "label0" / "cam0_0000.png").write_bytes(b"")
    for path in (photos / "label1").iterdir():
        path.write_text("no picture")
    with refused("too-few-photos", DatasetError, "'label1'"):
        made(tmp_path, photos)


def test_a_folder_in_parts_is_held_out_by_its_own_part(tmp_path: Path) -> None:
    photos = bursts(tmp_path)
    for part, cams in (("train", "012"), ("val", "3")):
        for label in ("label0", "label1"):
            (tmp_path / "set" / part / label).mkdir(parents=True)
            for path in (photos / label).iterdir():
                if path.name[3] in cams:
                    shutil.copy(path, tmp_path / "set" / part / label)
    built = made(tmp_path, tmp_path / "set")
    assert built.evaluation is not None
    assert built.evaluation.examples == 12
    assert built.layout
    assert list(built.examples) == ["label0", "label1"]
