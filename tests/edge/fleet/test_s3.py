"""A fleet in a bucket: both halves of a device over S3's own protocol, and many devices at once."""

import threading
from pathlib import Path

import pytest

pytest.importorskip("obstore")

from edge.fleet import contribution
from edge.fleet.names import Named, contributions, newest_of_each
from edge.fleet.remote import open_remote
from edge.learner import Learner
from edge.testing import surface
from tests.edge.fleet.conftest import use_s3
from tests.edge.fleet.pooled import pooled
from tests.edge.fleet.published import publish
from tests.edge.fleet.taught import about, parts


def test_a_device_contributes_to_a_bucket_and_follows_it(
    s3: str, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_s3(s3, monkeypatch)
    url = f"s3://fleet/{tmp_path.name}"
    with Learner.init(tmp_path / "home", tiny_bundle) as learner:
        learner.teach("coins", [surface("coins", seed) for seed in range(3)])
        assert learner.contribute(url).sent
        assert not learner.contribute(url).sent
        publish(open_remote(url), 1, 1, pooled(tiny_bundle, tmp_path / "f.edge", ["b" * 32]).path)
        assert learner.follow(url).verdict == "accepted"
        assert learner.contribute(url).sequence == 2


def test_of_two_hundred_devices_that_each_send_twice_each_is_there_once(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_s3(s3, monkeypatch)
    store = open_remote(f"s3://fleet/{tmp_path.name}")

    def send(some: range) -> None:
        for number in some:
            made = list(parts(3, seed=number))
            held_out = sum(int(part.held_out.sum()) for part in made)
            text = about(["a", "b", "c"], [1, 1, 1], device=f"{number:032x}", held_out=held_out)
            data = contribution.write(text, made)
            name = str(Named(text.device, 1, contribution.sha256(data)))
            new.extend([store.put(name, data), store.put(name, data)])

    new: list[bool] = []
    threads = [threading.Thread(target=send, args=(range(first, 200, 4),)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(new) == [False] * 200 + [True] * 200
    newest = newest_of_each(contributions(store.names("devices/")))
    assert len(newest) == 200
    for name in newest.values():
        data = store.get(str(name), 10_000)
        assert contribution.sha256(data) == name.sha256
        assert contribution.read(str(name), data).about.device == name.device
