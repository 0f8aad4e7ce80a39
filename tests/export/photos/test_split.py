"""The validation split: what belongs together stays together, and every class is on both sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge.errors import DatasetError
from export.photos.split import check_grouping, group_photos, in_groups, lone_labels, split_groups
from tests.refused import refused

photos = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=12, max_size=80)


@given(photos, st.integers(0, 5))
def test_groups_are_never_cut_and_every_class_is_on_both_sides(rows: list[tuple[int, int]], seed: int) -> None:
    rows += [(label, group) for label in range(3) for group in range(2)]  # two groups of each class at least
    targets = np.array([label for label, _ in rows], np.int32)
    groups = np.unique([4 * label + group for label, group in rows], return_inverse=True)[1].astype(np.int64)
    held = split_groups(targets, groups, ["a", "b", "c"], 0.2, seed)
    for group in set(groups.tolist()):
        assert len(set(held[groups == group].tolist())) == 1
    for label in range(3):
        assert set(held[targets == label].tolist()) == {True, False}
    assert (held == split_groups(targets, groups, ["a", "b", "c"], 0.2, seed)).all()


@given(st.lists(st.integers(2, 60), min_size=2, max_size=5), st.integers(0, 5))
def test_without_groups_each_class_gives_its_share(counts: list[int], seed: int) -> None:
    targets = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    held = split_groups(targets, np.arange(len(targets)), [str(n) for n in range(len(counts))], 0.2, seed)
    for label, count in enumerate(counts):
        assert abs(int(held[targets == label].sum()) - max(0.2 * count, 1)) <= 1


def test_another_seed_holds_out_others() -> None:
    targets = np.zeros(40, np.int32)
    targets[20:] = 1
    splits = {split_groups(targets, np.arange(40), ["a", "b"], 0.2, seed).tobytes() for seed in range(5)}
    assert len(splits) == 5


@pytest.mark.parametrize(("count", "said"), [(1, "1 photo in one group"), (5, "5 photos in one group")])
def test_a_class_of_one_group_is_refused_by_name(count: int, said: str) -> None:
    targets = np.array([0] * count + [1] * 4, np.int32)
    groups = np.array([0] * count + [1, 2, 3, 4], np.int64)
    with refused("grouping-too-coarse", DatasetError, "'cup'"):
        split_groups(targets, groups, ["cup", "plate"], 0.2)


@pytest.mark.parametrize(
    ("by", "groups"),
    [(None, [0, 1, 2, 3, 4]), ("prefix", [0, 0, 1, 2, 3]), ("folder", [0, 0, 0, 1, 2])],
)
def test_groups_are_told_by_name_or_folder(by: str | None, groups: list[int]) -> None:
    names = ["cup/cam1_007.jpg", "cup/cam1_008.jpg", "cup/cam2_001.jpg", "cup/evening/cam1 (2).jpg", "plate/cam1_1.jpg"]
    assert group_photos([Path(name) for name in names], by).tolist() == groups


def test_a_session_ends_where_a_minute_passes_without_a_photo(tmp_path: Path) -> None:
    times = ["12:00:00", "12:00:50", "12:01:40", "12:03:00", None]
    paths = []
    for index, time in enumerate(times):
        exif = Image.Exif()
        if time:
            exif.get_ifd(34665)[36867] = f"2026:05:01 {time}"
        paths.append(tmp_path / f"{index}.jpg")
        Image.new("RGB", (8, 8)).save(paths[-1], exif=exif)
    assert group_photos(paths, "session").tolist() == [0, 0, 0, 1, 2]


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        (r"day\d", [0, 0, 1, 1, 2]),
        (r"cam(\d)", [0, 1, 0, 1, 2]),
        (r"(?:day1_)cam(\d)", [0, 1, 2, 3, 4]),
        (r"^[^/]+", [0, 0, 0, 1, 1]),
    ],
)
def test_a_regular_expression_is_searched_below_the_folder_and_its_first_group_is_the_key(
    by: str, groups: list[int]
) -> None:
    names = ["cup/day1_cam1.jpg", "cup/day1_cam2.jpg", "cup/day2_cam1.jpg", "plate/day2_cam2.jpg", "plate/other.jpg"]
    folder = Path("/data/day9/cam9")
    assert group_photos([folder / name for name in names], by, folder).tolist() == groups


def test_a_grouping_that_groups_nothing_is_refused(tmp_path: Path) -> None:
    with refused("grouping-invalid", DatasetError, "'prefx'", "1 photos", "1.jpg"):
        group_photos([tmp_path / "1.jpg"], "prefx", tmp_path)
    with refused("grouping-invalid", DatasetError, "session"):
        group_photos([tmp_path / "1.jpg"], "session")
    with refused("grouping-invalid", DatasetError, "'('", "prefix, folder, session"):
        check_grouping("(")


def test_a_name_that_is_only_a_number_has_a_prefix() -> None:
    assert group_photos([Path("cup/0001.jpg"), Path("cup/2.jpg"), Path("plate/1.jpg")], "prefix").tolist() == [0, 0, 1]


def test_of_a_class_of_one_group_nothing_is_held_out_where_that_is_allowed() -> None:
    targets, groups = np.array([0, 0, 0, 1, 1, 1, 1], np.int32), np.array([0, 0, 0, 1, 2, 3, 4])
    held = split_groups(targets, groups, ["cup", "plate"], 0.3, lenient=True)
    assert not held[:3].any()
    assert held[3:].any()
    assert lone_labels(targets, groups, ["cup", "plate"]) == ("cup",)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40))
def test_groups_in_a_bundle_are_numbered_and_those_of_one_are_none(keys: list[int]) -> None:
    numbers = in_groups(np.array(keys, np.int64))
    for i, key in enumerate(keys):
        assert (numbers[i] == -1) == (keys.count(key) == 1)
        assert all((numbers[i] == numbers[j] != -1) == (key == other) for j, other in enumerate(keys) if j != i)
    assert set(numbers[numbers >= 0].tolist()) == set(range(len({k for k in keys if keys.count(k) > 1})))
