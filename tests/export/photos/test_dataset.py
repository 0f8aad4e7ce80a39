"""Class folders: what is refused, what is skipped, and what is held out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge.errors import DatasetError, EdgeError
from export.cli import app
from export.compare.material import read_material
from export.photos.folders import find_photos, hold_out, pick_calibration, read_pixels
from tests.edge.conftest import MODELS
from tests.edge.kinds import WRITERS, Writer, write
from tests.refused import refused

Folder = Callable[..., Path]


def test_labels_are_the_sorted_folders_and_photos_may_lie_deeper(photo_folder: Folder) -> None:
    folder = photo_folder(plate=2, cup=3)
    (folder / "cup" / "evening").mkdir()
    shutil.move(folder / "cup" / "0.png", folder / "cup" / "evening" / "9.png")
    (folder / "cup" / "notes.txt").write_text("no photo")
    (folder / ".cache").mkdir()
    photos = find_photos(folder)
    assert photos.labels == ("cup", "plate")
    assert photos.targets.tolist() == [0, 0, 0, 1, 1]
    assert {path.name for path in photos.paths} == {"0.png", "1.png", "2.png", "9.png"}


def test_spaces_and_emoji_are_names(photo_folder: Folder) -> None:
    assert find_photos(photo_folder(**{"tin can": 1, "🐦": 1})).labels == ("tin can", "🐦")


@pytest.mark.parametrize(
    ("counts", "kind", "code", "fact"),
    [
        ({}, DatasetError, "no-label-folders", "photos"),
        ({"cup": 2}, DatasetError, "no-label-folders", "'cup'"),
        ({"cup": 2, "plate": 0}, DatasetError, "too-few-photos", "'plate'"),
        ({"cup": 1, "x" * 150: 1}, DatasetError, "label-invalid", "150 characters"),
        ({"cup": 1, "unknown": 1}, DatasetError, "label-invalid", "'unknown'"),
    ],
)
def test_a_folder_that_is_no_dataset_is_refused_in_one_line(
    photo_folder: Folder, tmp_path: Path, counts: dict[str, int], kind: type[EdgeError], code: str, fact: str
) -> None:
    (tmp_path / "photos").mkdir()
    folder = photo_folder(**counts)
    with refused(code, kind, fact):
        find_photos(folder)


def test_a_missing_folder_and_a_file_are_refused(tmp_path: Path) -> None:
    with refused("folder-missing", DatasetError):
        find_photos(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with refused("folder-missing", DatasetError):
        find_photos(tmp_path / "file")


def test_two_spellings_of_one_label_are_refused(photo_folder: Folder) -> None:
    with refused("folder-layout", DatasetError, "'café'"):
        find_photos(photo_folder(**{"café": 1, "cafe\u0301": 1}))


def test_pixels_of_bad_photos_are_passed_over(photo_folder: Folder) -> None:
    folder = photo_folder(cup=3, plate=2)
    (folder / "cup" / "1.png").write_bytes(b"")
    (folder / "cup" / "text.jpg").write_text("not a picture")
    pixels = read_pixels(find_photos(folder).paths, 32, 37)
    assert pixels.shape == (4, 32, 32, 3)
    assert pixels.dtype == np.uint8
    assert read_pixels([], 32, 37).shape == (0, 32, 32, 3)


targets = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(lambda t: np.array(t, np.int32))


@given(targets, st.floats(0, 0.9), st.integers(0, 9))
def test_every_class_keeps_a_photo_to_learn_from(t: np.ndarray, share: float, seed: int) -> None:
    held = hold_out(t, share, seed)
    assert set(t[~held]) == set(t)
    assert (held == hold_out(t, share, seed)).all()
    for label in set(t):
        members = int((t == label).sum())
        assert held[t == label].sum() <= np.ceil(share * members)


@given(targets, st.integers(1, 70))
def test_calibration_takes_the_classes_in_turn(t: np.ndarray, count: int) -> None:
    chosen = pick_calibration(t, count)
    assert len(chosen) == len(set(chosen.tolist())) == min(count, len(t))
    taken = np.bincount(t[chosen], minlength=5)
    for label, total in enumerate(np.bincount(t, minlength=5)):
        assert taken[label] >= min(total, taken.max() - 1)


@pytest.mark.parametrize("writer", WRITERS, ids=lambda one: one.name)
def test_build_counts_every_kind_of_file(tmp_path: Path, writer: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    for label in ("cup", "plate"):
        (tmp_path / "in" / label).mkdir(parents=True)
        for seed in range(3):
            noise = np.random.default_rng([seed, len(label)]).integers(0, 255, (48, 48, 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / "in" / label / f"good{seed}.png")
    write(writer, tmp_path / "in" / "cup")
    model = ["--model", str(MODELS["onnx"])]
    bundle = ["-o", str(tmp_path / "out.edge"), "--json"]
    code = app.cli.main(["build", str(tmp_path / "in"), *model, *bundle], standalone_mode=False)
    answer = json.loads(capsys.readouterr().out)
    why = writer.left or writer.unread
    assert answer["counted"]["seen"] == 7
    assert answer["counted"]["read"] == sum(answer["examples"].values()) == (6 if why else 7)
    left = [(one["reason"], one["count"]) for one in answer["counted"]["left_out"]]
    assert left == ([(why, 1)] if why else [])
    assert (code or 0) == (3 if writer.unread else 0)


def test_a_class_without_a_readable_photo_is_told_with_its_own_reason(tmp_path: Path) -> None:
    for label, content in (("a", b""), ("cup", b""), ("roses", b"<html>"), ("plate", b"")):
        (tmp_path / label).mkdir()
        Image.new("RGB", (40, 40), (40 * len(label), 0, 0)).save(tmp_path / label / "good.png")
        (tmp_path / label / "bad.jpg").write_bytes(content)
    (tmp_path / "roses" / "good.png").unlink()
    with refused("too-few-photos", DatasetError, "'roses'", "bad.jpg", "web page"):
        read_material(find_photos(tmp_path), 32, lambda *_: None)


def test_what_a_sample_leaves_out_is_counted(photo_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    from export.compare import rank

    monkeypatch.setattr(rank, "PHOTOS", 4)
    some = rank._some(find_photos(photo_folder(cup=5, plate=5)), 0)
    assert len(some.paths) == 4
    assert [one.reason for one in some.left] == ["not-asked"] * 6


def test_pretraining_on_a_folder_counts_what_it_left_out(photo_folder: Folder) -> None:
    from export.pretrain.views import Pictures

    folder = photo_folder(cup=2, plate=2)
    (folder / "cup" / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (folder / "notes.txt").write_text("x")
    files = Pictures.read(folder).files
    assert (files.seen, files.read) == (6, 4)
    assert {group.reason for group in files.left_out} == {"damaged", "text"}
