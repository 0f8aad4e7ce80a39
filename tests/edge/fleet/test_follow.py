"""`follow`: a device takes the release that is meant for it, unless it makes worse what was taught here."""

import dataclasses
import errno
import fcntl
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("obstore")

from edge.bundle import archive
from edge.bundle.signature import Key
from edge.errors import BundleError, EdgeError, FleetError, HomeBusy, StoreError
from edge.fleet import contribution, follow
from edge.fleet.names import contributions, newest_of_each, plan_name
from edge.fleet.release import Plan
from edge.fleet.remote import Remote, open_remote
from edge.head.moments import fixed
from edge.learner import Learner
from edge.testing import surface
from tests.edge.fleet.pooled import pooled
from tests.edge.fleet.published import publish
from tests.refused import refused

OTHERS = ["b" * 32, "c" * 32]


@pytest.fixture
def learner(tiny_bundle: Path, tmp_path: Path) -> Iterator[Learner]:
    with Learner.init(tmp_path / "home", tiny_bundle) as opened:
        for label in ("brick", "grass"):
            opened.teach(label, [surface(label, seed) for seed in range(900, 912)])
            opened.teach(label, [surface(label, seed) for seed in range(920, 935)], held_out=True)
        opened.retrain(force=True)
        yield opened


@pytest.fixture
def release(tiny_bundle: Path, tmp_path: Path) -> Path:
    return pooled(tiny_bundle, tmp_path / "fleet.edge", OTHERS).path


@pytest.fixture
def poisoned(learner: Learner, tiny_bundle: Path, tmp_path: Path) -> Path:
    """A release in which every brick that this device knows is called gravel."""
    opened = archive.read(pooled(tiny_bundle, tmp_path / "good.edge", OTHERS).path)
    seen = learner.store.embeddings([example.id for example in learner.examples("brick")], learner.info.dimension)
    rows = np.repeat(fixed(seen), 5, axis=0).astype(np.float32)
    n = len(rows)
    wrong = archive.FactoryExamples(
        rows,
        np.full(n, opened.manifest.labels.index("gravel"), np.int32),
        np.zeros(n, np.bool_),
        devices=np.zeros(n, np.int32),
    )
    models = {model.file: opened.entry(model.file) for model in opened.manifest.models}
    return archive.write(tmp_path / "bad.edge", opened.manifest, models, opened.golden(), wrong).path


def state(learner: Learner) -> tuple[object, ...]:
    return learner.adopted(), learner.serving().generation, [e.generation for e in learner.history()]


def parts(learner: Learner) -> list[str]:
    return sorted(file.name for file in learner.home.glob("*.part"))


def test_where_nothing_is_published_or_meant_for_it_a_device_keeps_what_it_has(
    learner: Learner, store: str, release: Path
) -> None:
    before = state(learner)
    told = learner.follow(store)
    assert (told.release, told.new, told.verdict) == (None, False, None)
    publish(open_remote(store), 1, 1, release, percent=0)
    assert learner.follow(store).release is None
    assert state(learner) == before


def test_a_release_is_taken_once_and_its_verdict_rides_in_the_next_contribution(
    learner: Learner, store: str, release: Path
) -> None:
    publish(open_remote(store), 1, 7, release)
    seen: list[tuple[int, int]] = []
    told = learner.follow(store, lambda done, total: seen.append((done, total)))
    assert (told.release, told.new, told.verdict, told.why) == (7, True, "accepted", "")
    assert told.generation == state(learner)[1]
    assert learner.retrain().factory_examples == 30
    assert seen[-1] == (release.stat().st_size,) * 2
    assert learner.bundle.manifest.devices == tuple(OTHERS)
    assert parts(learner) == []
    again = learner.follow(store)
    assert (again.release, again.new, again.verdict) == (7, False, "accepted")
    learner.contribute(store)
    (name,) = newest_of_each(contributions(open_remote(store).names("devices/"))).values()
    about = contribution.read(str(name), open_remote(store).get(str(name), 1 << 20)).about
    assert (about.serves.release, about.serves.verdict) == (7, "accepted")
    assert about.serves.accuracy == learner.history()[-1].loo_accuracy


def test_a_release_that_makes_worse_what_was_taught_here_is_refused_and_nothing_changes(
    learner: Learner, store: str, poisoned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(learner)
    publish(open_remote(store), 1, 3, poisoned)
    told = learner.follow(store)
    assert (told.new, told.verdict, told.generation) == (True, "refused", before[1])
    assert told.why
    assert state(learner) == before
    assert learner.classify(surface("brick", 950)).label == "brick"
    with monkeypatch.context() as patch:  # it is not tried again,
        patch.setattr(Remote, "part", None)
        again = learner.follow(store)
    assert (again.new, again.verdict, again.why) == (False, "refused", told.why)
    learner.contribute(store)
    learner.teach("brick", [surface("brick", 990)])  # until more was taught, and then without another download
    with monkeypatch.context() as patch:
        patch.setattr(Remote, "part", None)
        assert learner.follow(store).new


def test_a_refused_release_that_is_taken_back_is_forgotten(
    learner: Learner, store: str, poisoned: Path, release: Path
) -> None:
    remote = open_remote(store)
    good = publish(remote, 1, 1, release)
    learner.follow(store)
    publish(remote, 2, 2, poisoned, 100, previous=1, previous_sha256=good.sha256, previous_size=good.size)
    assert learner.follow(store).verdict == "refused"
    publish(remote, 3, 2, poisoned, 0, previous=1, previous_sha256=good.sha256, previous_size=good.size)
    told = learner.follow(store)
    assert (told.release, told.verdict) == (1, "accepted")


def test_a_device_that_takes_a_release_may_go_back_to_the_previous_one(
    learner: Learner, store: str, release: Path, tiny_bundle: Path
) -> None:
    remote = open_remote(store)
    old = publish(remote, 1, 1, tiny_bundle)
    assert learner.follow(store).new is False  # it has it already
    publish(remote, 2, 2, release)
    assert learner.follow(store).new
    publish(remote, 3, 2, release, 0, previous=1, previous_sha256=old.sha256, previous_size=old.size)
    assert (learner.follow(store).release, learner.bundle.manifest.devices) == (1, ())


@pytest.mark.parametrize("kept", [0, 1, 5000, -1])
def test_an_interrupted_download_goes_on_or_starts_again(
    learner: Learner, store: str, release: Path, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "BLOCK", 4000)
    plan = publish(open_remote(store), 1, 1, release)
    part = learner.home / f"release-{plan.sha256[:16]}.part"
    data = release.read_bytes()
    part.write_bytes(data[:kept] if kept >= 0 else b"x" * (len(data) + 9))
    (learner.home / "release-0123456789abcdef.part").write_bytes(b"of an older one")
    (learner.home / "release-mine.part").write_bytes(b"not ours")
    assert learner.follow(store).verdict == "accepted"
    assert parts(learner) == ["release-mine.part"]


def test_a_beginning_that_is_anothers_is_found_out_and_read_again(learner: Learner, store: str, release: Path) -> None:
    plan = publish(open_remote(store), 1, 1, release)
    (learner.home / f"release-{plan.sha256[:16]}.part").write_bytes(b"x" * 5000)
    assert learner.follow(store).verdict == "accepted"


def test_a_connection_that_is_lost_keeps_what_came(
    learner: Learner, store: str, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "BLOCK", 4000)
    publish(open_remote(store), 1, 1, release)
    read, asked = Remote.part, []

    def lose(self: Remote, name: str, start: int, length: int) -> bytes:
        asked.append(start)
        if len(asked) == 3:
            raise StoreError("store-unreachable", "gone")
        return read(self, name, start, length)

    monkeypatch.setattr(Remote, "part", lose)
    with refused("store-unreachable", StoreError):
        learner.follow(store)
    assert learner.follow(store).verdict == "accepted"
    assert asked == sorted([*set(asked), 8000])  # nothing twice but what was lost


def test_a_release_that_is_not_what_its_plan_says_is_refused(learner: Learner, store: str, release: Path) -> None:
    remote = open_remote(store)
    plan = publish(remote, 1, 1, release)
    before = state(learner)
    for sequence, bad in ((2, dataclasses.replace(plan, sha256="0" * 64)), (3, dataclasses.replace(plan, size=9))):
        remote.put(plan_name(sequence), bad.to_json())
        with refused("release-damaged", FleetError, "releases/000001.edge"):
            learner.follow(store)
    remote.put(plan_name(4), Plan(9, "0" * 64, 9, 100).to_json())
    with refused("store-missing", StoreError):
        learner.follow(store)
    assert state(learner) == before
    assert parts(learner) == []


def test_a_release_that_is_no_bundle_or_not_signed_is_refused_and_the_fleet_is_told_why(
    learner: Learner, store: str, release: Path, tmp_path: Path
) -> None:
    remote, before = open_remote(store), state(learner)
    (tmp_path / "junk").write_bytes(b"junk" * 99)
    publish(remote, 1, 1, tmp_path / "junk")
    told = learner.follow(store)
    assert (told.verdict, told.generation) == ("refused", before[1])
    assert "releases/000001.edge" in told.why
    assert str(learner.home) not in told.why
    learner.trust(Key(bytes(32)))
    publish(remote, 2, 2, release)
    assert "not signed" in learner.follow(store).why
    assert state(learner) == before
    assert parts(learner) == []


def test_two_at_once_do_not_write_into_each_other(learner: Learner, store: str, release: Path) -> None:
    publish(open_remote(store), 1, 1, release)
    with (learner.home / "follow.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with refused("home-busy", HomeBusy):
            learner.follow(store)
    assert learner.follow(store).verdict == "accepted"


def test_a_release_installed_by_hand_is_known_as_taken(learner: Learner, store: str, release: Path) -> None:
    publish(open_remote(store), 1, 5, release)
    learner.close()
    with Learner.init(learner.home, release) as opened:
        told = opened.follow(store)
        assert (told.release, told.new, told.verdict) == (5, False, "accepted")


def test_a_release_that_the_disk_gives_back_badly_is_not_refused_but_tried_again(
    learner: Learner, store: str, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(open_remote(store), 1, 1, release)

    def bad(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as harm, refused("file-unreadable", BundleError):
        harm.setattr("edge.learning.init.sha256", bad)
        learner.follow(store)
    assert learner.follow(store).verdict == "accepted"


def test_a_full_disk_is_told_with_the_size(
    learner: Learner, store: str, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = publish(open_remote(store), 1, 1, release)
    (learner.home / f"release-{plan.sha256[:16]}.part").mkdir()
    with refused("home-unwritable", EdgeError, "MB"):
        learner.follow(store)


def test_a_home_whose_log_has_no_index_follows_without_waiting_for_itself(
    learner: Learner, store: str, release: Path
) -> None:
    publish(open_remote(store), 1, 1, release)
    learner.close()
    (learner.home / "learner.db-shm").symlink_to("nowhere")  # cannot be made, as after an I/O error: it is opened alone
    with Learner(learner.home) as alone:
        assert alone.follow(store).verdict == "accepted"
        assert alone.bundle.manifest.devices == tuple(OTHERS)
        alone.teach("brick", [surface("brick", 991)])
