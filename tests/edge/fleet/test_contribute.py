"""`contribute`: what was taught arrives, once, whatever is lost on the way, and two boxes with one id are noticed."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("obstore")

from edge.care.backup import backup, restore
from edge.errors import EdgeError, FleetError, HomeError, StoreError
from edge.fleet import contribution
from edge.fleet.contribute import tell
from edge.fleet.names import Named, contributions, newest_of_each
from edge.fleet.remote import Remote, open_remote
from edge.head.moments import Moments, fixed
from edge.learner import Learner
from edge.testing import surface
from tests.refused import refused

WHEN = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.fixture
def learner(tiny_bundle: Path, tmp_path: Path) -> Iterator[Learner]:
    with Learner.init(tmp_path / "home", tiny_bundle) as opened:
        opened.teach("coins", [surface("coins", seed) for seed in range(3)], session="desk")
        opened.teach("grass", [surface("grass", 90)], held_out=True)
        yield opened


def names(url: str) -> list[Named]:
    return contributions(open_remote(url).names("devices/"))


def newest(url: str) -> contribution.Contribution:
    (name,) = newest_of_each(names(url)).values()
    data = open_remote(url).get(str(name), 1 << 20)
    assert contribution.sha256(data) == name.sha256
    found = contribution.read(str(name), data)
    assert (found.about.device, found.about.sequence) == (name.device, name.sequence)
    return found


def test_what_was_taught_arrives_to_the_bit_and_nothing_else(learner: Learner, store: str) -> None:
    told = learner.contribute(store)
    assert (told.sent, told.sequence, told.examples, told.labels) == (True, 1, 4, ("coins", "grass"))
    found = newest(store)
    (part,) = found.parts()
    examples = sorted(learner.examples(), key=lambda e: e.image)
    assert [row.tobytes().hex() for row in part.images] == [e.image for e in examples]
    assert [found.about.labels[i] for i in part.labels] == [e.label for e in examples]
    assert part.held_out.tolist() == [e.held_out for e in examples]
    assert part.sessions.tolist() == [-1 if e.session is None else 0 for e in examples]
    raw = learner.store.embeddings([e.id for e in examples], learner.info.dimension)
    assert np.array_equal(part.embeddings.astype(np.float64), fixed(raw))
    assert found.about.fingerprint == learner.info.fingerprint
    assert b"desk" not in found._data  # nor any other name of a session or file


def test_nothing_new_is_not_sent_again_and_what_is_taught_or_forgotten_is(learner: Learner, store: str) -> None:
    learner.contribute(store)
    again = learner.contribute(store)
    assert (again.sent, again.sequence) == (False, 1)
    assert len(names(store)) == 1
    learner.teach("coins", [surface("coins", 7)])
    assert learner.contribute(store).sequence == 2
    learner.forget([example.id for example in learner.examples()])
    assert learner.contribute(store).examples == 0
    assert newest(store).about.labels == ()
    assert [name.sequence for name in names(store)] == [1, 2, 3]


def test_the_same_teaching_in_another_order_gives_the_same_bytes(tiny_bundle: Path, tmp_path: Path) -> None:
    found = []
    for order in (1, -1):
        with Learner.init(tmp_path / f"home{order}", tiny_bundle, clock=lambda: WHEN) as one:
            for seed in list(range(4))[::order]:
                one.teach("coins" if seed % 2 else "grass", [surface("coins", seed)], session=f"s{seed // 2}")
            with one.store.snapshot():
                found.append(tell(one, "a" * 32)[1])
    assert found[0] == found[1]


def test_moments_are_those_of_the_examples_to_the_bit_and_name_no_picture(learner: Learner, store: str) -> None:
    told = learner.contribute(store, moments=True)
    assert (told.form, told.examples, told.labels) == ("moments", 3, ("coins",))
    taught = [e for e in learner.examples() if not e.held_out]
    raw = learner.store.embeddings([e.id for e in taught], learner.info.dimension)
    found = newest(store)
    assert found.moments() == Moments.of(raw, [e.label for e in taught])
    assert not any(bytes.fromhex(e.image) in found._data for e in taught)
    assert learner.contribute(store).sequence == 2  # all of it after all


class Lost(Exception):
    """A reply that never came."""


@pytest.mark.parametrize("after", [False, True], ids=["never arrived", "arrived"])
def test_a_lost_reply_costs_nothing(learner: Learner, store: str, after: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Remote.put

    def lose(self: Remote, name: str, data: bytes) -> bool:
        if after:
            put(self, name, data)
        raise Lost

    with monkeypatch.context() as patch:
        patch.setattr(Remote, "put", lose)
        for _ in range(3):
            with pytest.raises(Lost):
                learner.contribute(store)
            if after:
                break
    told = learner.contribute(store)
    assert told.sent is not after
    assert len(names(store)) == 1
    assert not learner.contribute(store).sent


def test_what_arrived_is_known_even_if_more_was_taught_since(
    learner: Learner, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Remote.put

    def lose(self: Remote, name: str, data: bytes) -> bool:
        put(self, name, data)
        raise Lost

    with monkeypatch.context() as patch:
        patch.setattr(Remote, "put", lose)
        for seed in (20, 21):
            learner.teach("coins", [surface("coins", seed)])
            with pytest.raises(Lost):
                learner.contribute(store)
    learner.teach("coins", [surface("coins", 22)])
    assert learner.contribute(store).sequence == 3


def copy_of(learner: Learner, tmp_path: Path) -> Learner:
    learner.store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copytree(learner.home, tmp_path / "copy")
    return Learner(tmp_path / "copy")


def test_two_boxes_of_one_backup_are_noticed_and_take_two_ids(learner: Learner, store: str, tmp_path: Path) -> None:
    learner.contribute(store)
    with copy_of(learner, tmp_path) as copy:
        learner.teach("coins", [surface("coins", 50)])
        assert learner.contribute(store).sequence == 2
        copy.teach("grass", [surface("grass", 51)])
        with refused("device-twice", FleetError, 2, "new", "keep"):
            copy.contribute(store)
        assert len(names(store)) == 2
        told = copy.contribute(store, identity="new")
        assert (told.sent, told.sequence) == (True, 1)
        assert {name.device for name in names(store)} == {told.device, learner.contribute(store).device}
        assert not copy.contribute(store).sent


def test_a_home_that_was_restored_goes_on_with_its_id_if_told_to(learner: Learner, store: str, tmp_path: Path) -> None:
    learner.contribute(store)
    with copy_of(learner, tmp_path) as restored:
        learner.teach("coins", [surface("coins", 50)])
        first = learner.contribute(store)
        with refused("device-twice", FleetError):
            restored.contribute(store)
        told = restored.contribute(store, identity="keep")
        assert (told.device, told.sequence, told.examples) == (first.device, 3, 4)
        assert not restored.contribute(store).sent


def test_homes_of_one_backup_are_noticed_even_if_it_never_contributed(
    learner: Learner, store: str, tmp_path: Path
) -> None:
    backup(learner, tmp_path / "home.backup")
    boxes = [tmp_path / name for name in ("kitchen", "garage", "attic")]
    for box in boxes:
        restore(tmp_path / "home.backup", box)
    with Learner(boxes[0]) as first:
        device = first.contribute(store).device
    for box in boxes[1:]:
        with Learner(box) as other, refused("device-twice", FleetError, "--id new", "--id keep"):
            other.contribute(store)
    assert [name.device for name in names(store)] == [device]
    with Learner(boxes[1]) as other:
        assert other.contribute(store, identity="new").device != device


def test_homes_that_were_copied_before_anything_was_taught_are_devices_of_their_own(
    tiny_bundle: Path, store: str, tmp_path: Path
) -> None:
    Learner.init(tmp_path / "card", tiny_bundle).close()
    for box in ("kitchen", "garage"):
        shutil.copytree(tmp_path / "card", tmp_path / box)
        with Learner(tmp_path / box) as learner:
            learner.teach("coins", [surface("coins", len(box))])
            assert learner.contribute(store).sequence == 1
    assert len({name.device for name in names(store)}) == 2


def test_an_empty_store_gets_all_again_with_a_higher_sequence(learner: Learner, store: str, tmp_path: Path) -> None:
    learner.contribute(store)
    (tmp_path / "other").mkdir()
    told = learner.contribute((tmp_path / "other").as_uri())
    assert (told.sent, told.sequence) == (True, 2)


def test_a_signed_contribution_has_the_keys_id_and_its_signature_beside_it(
    learner: Learner, store: str, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    told = learner.contribute(store, key=key)
    assert len(told.device) == 64
    (name,) = names(store)
    remote = open_remote(store)
    (tmp_path / "sig").write_bytes(remote.get(f"{name}.sig", 10_000))
    (tmp_path / "allowed").write_text("box " + key.with_suffix(".pub").read_text())
    command = ["ssh-keygen", "-Y", "verify", "-n", "edge-fleet", "-I", "box"]
    command += ["-f", str(tmp_path / "allowed"), "-s", str(tmp_path / "sig")]
    subprocess.run(command, input=remote.get(str(name), 1 << 20), check=True, capture_output=True)
    with refused("device-key", FleetError, "--key"):
        learner.contribute(store)
    assert learner.contribute(store, identity="new").device != told.device
    with refused("device-key", FleetError, "--id"):
        learner.contribute(store, key=key)


def test_what_refuses_leaves_home_and_store_as_they_were(learner: Learner, store: str, tmp_path: Path) -> None:
    with refused("store-missing", StoreError):
        learner.contribute((tmp_path / "nowhere").as_uri())
    assert learner.recall("fleet_device") is None
    learner.remember("fleet_device", "a" * 32)
    learner.remember("fleet", json.dumps({"url": 3}))
    with refused("home-damaged", HomeError, "--id"):
        learner.contribute(store)
    assert names(store) == []
    assert learner.contribute(store, identity="new").sent


def test_a_home_with_more_examples_than_a_device_may_have_is_refused(
    learner: Learner, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.fleet.contribute.MAX_EXAMPLES", 3)
    with refused("limit-exceeded", EdgeError, 4, 3):
        learner.contribute(store)
