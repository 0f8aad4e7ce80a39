"""The page of a device that is in a fleet: what it last did, and a button for each half."""

from pathlib import Path

import pytest

pytest.importorskip("obstore")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from edge.fleet.remote import open_remote
from edge.learner import Learner
from edge.testing import surface
from tests.edge.fleet.pooled import pooled
from tests.edge.fleet.published import publish
from tests.edge.serve.server import serving


def test_the_page_contributes_and_follows_once_the_device_is_in_a_fleet(tiny_bundle: Path, tmp_path: Path) -> None:
    home, store = tmp_path / "home", tmp_path / "store"
    store.mkdir()
    url = store.as_uri()
    with Learner.init(home, tiny_bundle) as learner:
        learner.teach("coins", [surface("coins", seed) for seed in range(5)])
        assert learner.fleet() is None
    with serving(home) as server:
        assert server.now("fleet") == {"url": None}
        assert server.post("fleet/follow", {"url": url}).json()["stale"]
        with Learner(home) as learner:
            learner.contribute(url)
        found = server.now("fleet")
        assert (found["url"], found["sequence"], found["release"], found["verdict"]) == (url, 1, None, None)
        assert found["contributed"]
        assert server.post("fleet/contribute", {"url": url}).json()["sent"] is False
        release = pooled(tiny_bundle, tmp_path / "fleet.edge", ["b" * 32])
        publish(open_remote(url), 1, 12, release.path)
        done = server.post("fleet/follow", {"url": url}).json()
        assert (done["release"], done["verdict"], done["new"]) == (12, "accepted", True)
        found = server.now("fleet")
        assert (found["release"], found["verdict"], found["why"]) == (12, "accepted", "")
        assert server.now()["home"]["generation"] == done["generation"]  # what serves here is the new one
        assert server.post("fleet/contribute", {"url": url}).json()["sequence"] == 2
        store.rename(tmp_path / "gone")
        assert server.post("fleet/contribute", {"url": url}).json()["code"] == "store-missing"
