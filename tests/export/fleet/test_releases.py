"""Publishing: put once, raised, taken back; whatever is cut off leaves the old plan or the new one."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("obstore")

from edge.bundle import archive
from edge.errors import StoreError
from edge.fleet.names import PLANS, RELEASES
from edge.fleet.release import newest_plan
from edge.fleet.remote import Remote, open_remote
from edge.testing import write_bundle, write_photos
from export.fleet.releases import base, publish
from tests.export.fleet.devices import device_id, put
from tests.refused import refused


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bundles")
    photos = write_photos(folder / "photos", {"brick": 2, "grass": 2})
    return [write_bundle(folder / f"{name}.edge", photos) for name in ("first", "second", "third")]


@pytest.fixture
def store(tmp_path: Path) -> Remote:
    return open_remote(tmp_path.as_uri())


def taking(store: Remote, devices: int = 200) -> list[int | None]:
    """The release that each of some devices is meant to take."""
    found = newest_plan(store)
    assert found is not None
    meant = [found[1].meant_for(device_id(number)) for number in range(devices)]
    return [one.number if one else None for one in meant]


def test_a_release_is_raised_and_who_took_it_keeps_it(store: Remote, bundles: list[Path]) -> None:
    publish(store, bundles[0], 100)
    assert set(taking(store)) == {1}
    publish(store, bundles[1], 10)
    few = taking(store)
    assert set(few) == {1, 2}
    publish(store, bundles[1], 50)
    half = taking(store)
    assert all(after == 2 for before, after in zip(few, half, strict=True) if before == 2)
    assert 70 < half.count(2) < 130
    publish(store, None, 100)
    assert set(taking(store)) == {2}
    assert len(store.names(RELEASES)) == 2


def test_a_release_that_is_taken_back_leads_to_the_one_before(store: Remote, bundles: list[Path]) -> None:
    publish(store, bundles[0], 100)
    publish(store, bundles[1], 30)
    publish(store, None, 0)
    assert set(taking(store)) == {1}
    publish(store, bundles[2], 30)
    assert set(taking(store)) == {1, 3}, "the others keep the last one that all had"


def test_the_first_release_leaves_the_others_what_they_have(store: Remote, bundles: list[Path]) -> None:
    publish(store, bundles[0], 20)
    assert set(taking(store)) == {None, 1}


def test_publishing_the_same_again_changes_nothing(store: Remote, bundles: list[Path]) -> None:
    one = publish(store, bundles[0], 20)
    again = publish(store, bundles[0], 20)
    assert (one.changed, again.changed) == (True, False)
    assert (one.plan, one.sequence) == (again.plan, again.sequence)
    assert store.names(PLANS) == ["plans/000001.json"]


def test_it_is_told_how_many_known_devices_will_take_it(store: Remote, bundles: list[Path]) -> None:
    for number in range(8):
        put(store, number)
    told = publish(store, bundles[0], 50)
    assert told.devices == (taking(store, 8).count(1), 8)


@pytest.mark.kills
def test_a_publisher_that_is_killed_at_any_write_leaves_the_old_plan_or_the_new_one(
    tmp_path: Path, bundles: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill before and after each write; then the same command again ends where it would have."""
    usual = Remote.put
    outcomes = set()
    for cut in range(4):
        folder = tmp_path / str(cut)
        folder.mkdir()
        store = open_remote(folder.as_uri())
        publish(store, bundles[0], 100)
        steps = 0

        def killed(self: Remote, name: str, data: bytes, last: int = cut) -> bool:
            nonlocal steps
            for done in (False, True):
                if steps == last:
                    raise KeyboardInterrupt
                steps += 1
                if not done:
                    found = usual(self, name, data)
            return found

        monkeypatch.setattr(Remote, "put", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(store, bundles[1], 100)
        monkeypatch.setattr(Remote, "put", usual)
        assert set(taking(store)) in ({1}, {2})
        outcomes |= set(taking(store))
        publish(store, bundles[1], 100)
        assert set(taking(store)) == {2}
        assert len(store.names(RELEASES)) == 2, "the release that no plan named was found again"
    assert outcomes == {1, 2}


def test_two_who_publish_at_once_cannot_overwrite_each_other(
    store: Remote, bundles: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from export.fleet import releases

    publish(store, bundles[0], 100)
    seen = newest_plan(store)
    publish(store, bundles[1], 10)
    monkeypatch.setattr(releases, "newest_plan", lambda remote: seen)
    with refused("store-name-taken", StoreError):
        publish(store, bundles[2], 50)
    assert set(taking(store)) == {1, 2}


def test_a_damaged_bundle_is_not_published(store: Remote, bundles: list[Path], tmp_path: Path) -> None:
    whole = bundles[0].read_bytes()
    damaged = tmp_path / "damaged.edge"
    damaged.write_bytes(whole[: len(whole) // 2] + b"!" + whole[len(whole) // 2 + 1 :])
    with refused("bundle-damaged"):
        publish(store, damaged, 100)
    assert store.names(RELEASES) == store.names(PLANS) == []


def test_without_a_release_there_is_nothing_to_raise_and_nothing_to_start_from(store: Remote) -> None:
    with refused("release-unknown"):
        publish(store, None, 50)
    with refused("release-unknown"), base(store, None):
        pass


def test_a_merge_starts_from_the_newest_release(store: Remote, bundles: list[Path]) -> None:
    publish(store, bundles[0], 100)
    publish(store, bundles[1], 10)
    with base(store, None) as path:
        assert archive.read(path).manifest.name == "second"
    assert not path.exists()
