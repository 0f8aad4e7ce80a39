"""The sample: real photographs, nothing leaks from learning to testing, and nobody's files are overwritten."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.errors import DatasetError, RuntimeMissing
from export.photos import sample as module
from export.photos.sample import write_sample
from tests.refused import refused


def test_the_sample_has_photos_to_build_to_teach_and_to_test(sample: Path) -> None:
    counts = {str(p.relative_to(sample)): len(list(p.glob("*.jpg"))) for p in sample.glob("*/*")}
    assert counts == {
        "photos/brick": 40, "photos/grass": 40, "photos/gravel": 40, "device/coins": 12,
        "test/brick": 20, "test/grass": 20, "test/gravel": 20, "test/coins": 20,
    }  # fmt: skip
    with Image.open(sample / "photos" / "brick" / "brick_00.jpg") as image:
        assert image.size == (320, 240)
    text = (sample / "SOURCE.txt").read_text()
    assert "CC0" in text
    assert "Brooklyn Museum" in text


def test_without_the_photographs_the_smallest_way_to_them_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeMissing, match="run: pip install --no-deps scikit-image"):
        write_sample(tmp_path / "sample")


class _Recorder:
    """Stands in for a photograph and remembers what is cut from it."""

    def __init__(self, height: int) -> None:
        self.height = height
        self.boxes: list[tuple[int, int, int, int]] = []

    def crop(self, box: tuple[int, int, int, int]) -> Image.Image:
        self.boxes.append(box)
        return Image.new("RGB", (8, 8))


def test_no_pixel_is_in_two_purposes() -> None:
    columns: dict[tuple[str, str], set[int]] = {}
    for number, cut in enumerate(module._CUTS):
        with Image.open(module._photograph(cut.photograph)) as photograph:
            width, height = photograph.size
        recorder = _Recorder(height)
        random = np.random.default_rng(number)
        for _ in range(cut.count):
            module._frame(recorder, cut, random)  # type: ignore[arg-type]
        used = {column for left, _, right, _ in recorder.boxes for column in range(left, right)}
        assert min(used) >= 0
        assert max(used) < width
        assert max(bottom for *_, bottom in recorder.boxes) <= height
        columns[cut.photograph, cut.folder.split("/")[0]] = used
    for first, second in combinations(columns, 2):
        if first[0] == second[0]:
            assert not columns[first] & columns[second], (first, second)


def test_the_same_bytes_come_every_time_also_over_an_older_sample(tmp_path: Path, sample: Path) -> None:
    for _ in range(2):
        write_sample(tmp_path / sample.name)
    for path in sorted(sample.rglob("*.*")):
        assert path.read_bytes() == (tmp_path / sample.name / path.relative_to(sample)).read_bytes(), path


def test_the_folder_may_be_named_by_bytes_that_are_no_text(tmp_path: Path) -> None:
    folder = tmp_path / "caf\udce9"
    write_sample(folder)
    assert (folder / "SOURCE.txt").is_file()


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with refused("output-exists", DatasetError, "not empty"):
        write_sample(tmp_path)
    with refused("output-exists", DatasetError, "file"):
        write_sample(tmp_path / "holiday.jpg")
    assert (tmp_path / "holiday.jpg").read_bytes() == b"mine"
