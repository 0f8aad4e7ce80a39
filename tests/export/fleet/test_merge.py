"""Laws of merging: order, repetition and old contributions are irrelevant, and who leaves has never been there."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("obstore")

from edge.bundle import archive
from edge.errors import FleetError, NotEnough, StoreError
from edge.fleet.remote import Remote, open_remote
from edge.head.fit import Examples, fit
from edge.head.moments import GRID, Moments, fixed
from edge.learner import Learner
from edge.testing import FakeNetwork, surface
from export.fleet.gather import Contributions, Rules
from export.fleet.merge import Merged, merge
from export.fleet.undo import undo
from export.pool import pool as pools
from export.pool.pool import Device, Pool
from tests.export.fleet.devices import base, contribution, device_id, examples, put, rules
from tests.refused import refused

FOLDERS = itertools.count()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    base(folder)
    return folder


def store(root: Path) -> Remote:
    folder = root / f"store{next(FOLDERS)}"
    folder.mkdir()
    return open_remote(folder.as_uri())


def merged(root: Path, remote: Remote, rule: object = rules) -> Merged:
    output = root / "made.edge"
    output.unlink(missing_ok=True)
    return merge(remote, root / "base.edge", output, rule, lambda done, of: None)  # type: ignore[arg-type]


def bytes_of(root: Path, remote: Remote) -> bytes:
    return merged(root, remote).bundle.path.read_bytes()


@given(st.permutations(range(4)), st.lists(st.integers(0, 3), max_size=4))
def test_order_and_repetition_are_irrelevant_to_the_byte(root: Path, order: list[int], again: list[int]) -> None:
    one, other = store(root), store(root)
    for number in range(4):
        put(one, number)
    for number in [*order, *again]:
        put(other, number)
    assert bytes_of(root, one) == bytes_of(root, other)


def test_an_older_contribution_changes_nothing_whenever_it_comes(root: Path) -> None:
    one, other = store(root), store(root)
    for number in range(3):
        put(one, number, sequence=7)
        put(other, number, sequence=7)
    put(one, 1, sequence=3, count=9)
    assert bytes_of(root, one) == bytes_of(root, other)


def test_a_device_that_is_undone_has_never_been_there_and_comes_back_whole(root: Path) -> None:
    one, other = store(root), store(root)
    for number in range(4):
        put(one, number)
    for number in range(3):
        put(other, number)
    before = bytes_of(root, one)
    assert undo(one, device_id(3), "2026-11-29T12:00:00+00:00")
    assert bytes_of(root, one) == bytes_of(root, other)
    assert not undo(one, device_id(3), "2026-11-29T12:00:00+00:00"), "it is undone already"
    assert undo(one, device_id(3), "2026-11-29T13:00:00+00:00", back=True)
    assert bytes_of(root, one) == before


@pytest.mark.parametrize(
    "order",
    [b"", b"[]", b"{}", b'{"device": "DEVICE", "number": 2, "undone": true, "when": ""}',
     b'{"device": "0", "number": 1, "undone": true, "when": ""}',
     b'{"device": "DEVICE", "number": 1, "undone": 1, "when": ""}'],
)  # fmt: skip
@pytest.mark.parametrize("back", [False, True])
def test_a_damaged_order_is_named_and_given_again(root: Path, order: bytes, back: bool) -> None:
    remote, device = store(root), device_id(0)
    put(remote, 0)
    put(remote, 1)
    remote.put(f"undone/{device}/000001.json", order.replace(b"DEVICE", device.encode()))
    with refused("order-damaged", FleetError, device, "--back"):
        merged(root, remote)
    assert undo(remote, device, "2026-11-29T12:00:00+00:00", back)
    assert merged(root, remote).devices == (2 if back else 1)


def test_an_example_that_is_forgotten_has_never_been_there(root: Path) -> None:
    one, other = store(root), store(root)
    put(one, 0)
    put(other, 0)
    rows, labels = examples(1)
    for remote, sequence in ((one, 2), (other, 1)):
        if remote is one:
            put(remote, 1, sequence=1)
        name, data = contribution(1, rows[:5], labels[:5], sequence)
        remote.put(str(name), data)
    assert bytes_of(root, one) == bytes_of(root, other)


def test_the_bundle_holds_the_pooled_examples_to_the_last_bit_and_its_head_is_theirs(root: Path) -> None:
    remote = store(root)
    rows, labels = zip(*(examples(number) for number in range(5)), strict=True)
    for number in range(5):
        put(remote, number)
    found = merged(root, remote)
    bundle = archive.read(found.bundle.path)
    bundle.verify()
    shipped = bundle.examples()
    names = [bundle.manifest.labels[i] for i in shipped.labels.tolist()]
    own = archive.read(root / "base.edge")
    factory = own.examples()
    pooled = np.concatenate([fixed(factory.embeddings), *map(fixed, rows)])
    truth = [own.manifest.labels[i] for i in factory.labels.tolist()] + [name for part in labels for name in part]
    assert sorted(map(bytes, fixed(shipped.embeddings))) == sorted(map(bytes, pooled))
    assert Moments.of(shipped.embeddings, names) == Moments.of(pooled.astype(np.float32), truth)
    one = fit(Examples(np.asarray(shipped.embeddings), tuple(names))).head
    other = fit(Examples(pooled.astype(np.float32), tuple(truth))).head
    assert one.to_bytes() == other.to_bytes()
    assert (found.devices, found.examples, found.shipped, found.factory) == (5, 30, 30, 6)


def test_examples_that_a_device_held_out_are_in_no_pool(root: Path) -> None:
    remote = store(root)
    rows, labels = examples(0)
    name, data = contribution(0, rows, labels, held_out=2)
    remote.put(str(name), data)
    put(remote, 1)
    assert merged(root, remote).examples == 10


def test_a_release_as_the_base_counts_no_device_twice(root: Path, tmp_path: Path) -> None:
    remote = store(root)
    for number in range(3):
        put(remote, number)
    first = merged(root, remote).bundle.path.read_bytes()
    (tmp_path / "release.edge").write_bytes(first)
    merge(remote, tmp_path / "release.edge", tmp_path / "made.edge", rules, lambda done, of: None)
    assert (tmp_path / "made.edge").read_bytes() == first


def test_what_cannot_count_is_refused_by_name_and_the_rest_goes_on(root: Path) -> None:
    remote = store(root)
    for number in range(3):
        put(remote, number)
    whole = bytes_of(root, remote)
    rows, labels = examples(3)
    foreign, foreign_data = contribution(3, rows, labels, fingerprint="0" * 64)
    remote.put(str(foreign), foreign_data)
    damaged, data = contribution(4, *examples(4))
    remote.put(str(damaged), data[:-5] + b"?" + data[-4:])
    cut, data = contribution(5, *examples(5))
    remote.put(str(cut), data[:200])
    found = merged(root, remote)
    assert found.bundle.path.read_bytes() == whole
    told = {refusal.name: refusal.code for refusal in found.refused}
    assert told == {
        str(foreign): "contribution-backbone",
        str(damaged): "contribution-damaged",
        str(cut): "contribution-damaged",
    }
    assert all(refusal.name in refusal.why for refusal in found.refused)


def test_a_contribution_under_another_devices_name_is_refused(root: Path) -> None:
    remote = store(root)
    name, data = contribution(0, *examples(0))
    remote.put(str(name._replace(device=device_id(9))), data)
    put(remote, 1)
    found = merged(root, remote)
    assert [(refusal.device, refusal.code) for refusal in found.refused] == [(device_id(9), "contribution-invalid")]


def test_sums_alone_do_not_count_until_the_device_tells_its_examples(root: Path, tmp_path: Path) -> None:
    remote = store(root)
    put(remote, 0)
    with Learner.init(tmp_path / "home", root / "base.edge", network=FakeNetwork()) as learner:
        learner.teach("brick", [surface("brick", seed) for seed in range(3)])
        learner.contribute(remote.url, moments=True)
        found = merged(root, remote)
        assert ([one.code for one in found.refused], found.devices) == (["contribution-moments"], 1)
        learner.contribute(remote.url)
    found = merged(root, remote)
    assert (found.refused, found.devices) == ((), 2)


def test_a_device_with_very_many_frames_counts_as_much_as_it_may(root: Path) -> None:
    remote = store(root)
    put(remote, 0, count=900)
    put(remote, 1)
    found = merged(root, remote, lambda bundle: Rules(bundle.manifest.backbone, most=12))
    assert found.examples == 12 + 6
    assert set(found.labels.values()) == {4 + 2 + 2}, "four of each label, beside the others'"


def test_labels_that_a_person_joined_count_as_one(root: Path) -> None:
    remote = store(root)
    put(remote, 0)
    rows, labels = examples(1)
    name, data = contribution(1, rows, ["Bricks" if label == "brick" else label for label in labels])
    remote.put(str(name), data)
    joined = merged(root, remote, lambda bundle: Rules(bundle.manifest.backbone, labels={"Bricks": "brick"}))
    assert joined.labels == {"brick": 6, "grass": 6, "gravel": 6}
    assert set(merged(root, remote).labels) == {"Bricks", "brick", "grass", "gravel"}


def test_a_store_without_contributions_that_count_makes_no_bundle(root: Path) -> None:
    remote = store(root)
    with refused("too-few-examples", NotEnough):
        merged(root, remote)
    assert not (root / "made.edge").exists()


def test_an_error_of_the_store_half_way_leaves_the_older_bundle(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = store(root)
    for number in range(3):
        put(remote, number)
    before = bytes_of(root, remote)
    put(remote, 4)
    usual = Remote.get

    def failing(self: Remote, name: str, most: int) -> bytes:
        if device_id(2) in name:
            raise StoreError("store-unreachable", "gone")
        return usual(self, name, most)

    monkeypatch.setattr(Remote, "get", failing)
    with refused("store-unreachable"):
        merge(remote, root / "base.edge", root / "made.edge", rules, lambda done, of: None)
    assert (root / "made.edge").read_bytes() == before


@given(st.permutations(range(12)))
def test_which_devices_are_in_the_sample_does_not_depend_on_the_order(order: list[int]) -> None:
    def sampled(numbers: list[int]) -> list[str]:
        pool = Pool(2)
        pool._most = 20  # rows
        for number in numbers:
            n = 1 + number % 5
            device = Device(
                device_id(number), np.ones((n, 2), np.int32), ("cup",) * n, (None,) * n, np.zeros((n, 32), np.uint8)
            )
            pool.add(device)
            assert sum(map(len, pool.devices)) <= 20
        return [device.name for device in pool.devices]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools, "SAMPLE", 2 * 15)
        first, again = sampled(list(range(12))), sampled(order)
    assert first == again
    assert 0 < len(first) < 12


def test_the_larger_fleet_ships_a_sample_and_measures_what_that_costs(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = store(root)
    for number in range(12):
        put(remote, number)
    monkeypatch.setattr(pools, "ALL", 8 * 60)
    monkeypatch.setattr(pools, "SAMPLE", 8 * 40)
    found = merged(root, remote)
    assert (found.devices, found.examples) == (12, 72)
    assert found.shipped == 36, "six whole devices"
    assert found.accuracy is not None
    assert found.accuracy_of_all is not None
    assert found.accuracy.devices == 6
    assert len(archive.read(found.bundle.path).manifest.devices) == 6


def test_reading_one_of_two_devices_again_gives_what_was_pooled(root: Path) -> None:
    remote = store(root)
    put(remote, 0)
    put(remote, 1)
    contributions = Contributions(remote, rules(archive.read(root / "base.edge")))
    every = {device.name: device for device in contributions.devices()}
    (again,) = contributions.devices([device_id(1)])
    assert np.array_equal(again.rows, every[device_id(1)].rows)
    assert np.array_equal(again.rows, np.rint(fixed(examples(1)[0]) * GRID)[_by_picture(1, 6)])


def _by_picture(number: int, count: int) -> list[int]:
    import hashlib

    return sorted(range(count), key=lambda i: hashlib.sha256(f"{number} {i}".encode()).digest())
