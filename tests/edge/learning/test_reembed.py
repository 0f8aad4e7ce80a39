"""A home of version 0.1.0 takes a bundle of another backbone: what was taught is embedded again, or nothing changes.

tests/edge/data/make_old_homes.py made the two homes with that version's code.
"""

import hashlib
import io
import sqlite3
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.errors import HomeError
from edge.learner import Learner
from edge.network.backbone import Backbone, find_runtime, open_backbone
from tests.edge.conftest import DATA, INFO, MODELS, Run, write_bundle, write_pictures

sys.path.insert(0, str(DATA))
from make_tiny import kernels

OTHER = replace(INFO, name="other", fingerprint=hashlib.sha256(b"other").hexdigest())


def other_models() -> dict[str, bytes]:
    """The tiny network with a last layer of other weights, in both formats: another embedding of the same size."""
    last = kernels()[1].tobytes()
    new = np.random.default_rng(8).normal(0, 1 / 3, kernels()[1].shape).astype(np.float32).tobytes()
    models = {kind: file.read_bytes() for kind, file in MODELS.items()}
    assert all(data.count(last) == 1 for data in models.values())
    return {kind: data.replace(last, new) for kind, data in models.items()}


@pytest.fixture
def other(network: Backbone) -> Backbone:
    runtime = find_runtime(set(MODELS))
    return open_backbone(other_models()[runtime.format], runtime)


@pytest.fixture
def other_bundle(other: Backbone, photo_folder: Path, tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "other.edge", photo_folder, other, OTHER, models=other_models())


@pytest.fixture
def homes(tmp_path: Path) -> Path:
    """The folder of the homes `kept` and `bare`."""
    with zipfile.ZipFile(DATA / "old_homes.zip") as archive:
        archive.extractall(tmp_path / "homes")
    return tmp_path / "homes"


def content(home: Path) -> list[str]:
    """All that a home's database holds, as SQL, once today's program has opened it."""
    Learner(home).store.close()
    with sqlite3.connect(home / "learner.db") as db:
        return list(db.iterdump())


def test_what_was_taught_is_embedded_again_from_its_crops_and_everything_else_stays(
    homes: Path, other_bundle: Path, other: Backbone, tmp_path: Path
) -> None:
    with Learner(homes / "kept") as home:
        before, numbers = list(home.list_examples()), [example.id for example in home.list_examples()]
        old = home.store.embeddings(numbers, INFO.dimension)
        serving = home.serving().generation
    steps: list[tuple[int, int]] = []
    with Learner.init(homes / "kept", other_bundle, step=lambda done, total: steps.append((done, total))) as home:
        assert list(home.list_examples()) == before
        assert (before[0].label, before[0].session, len(before)) == ("coins", "tuesday", 8)
        found = home.store.embeddings(numbers, OTHER.dimension)
        crops = [home.store.crop(number) for number in numbers]
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(crop or b""))) for crop in crops])
        np.testing.assert_array_equal(found, np.concatenate([other.embed(one[None]) for one in pixels]))
        assert not np.allclose(found, old, rtol=0.1)
        assert home.store.foreign(OTHER.fingerprint) == home.store.damaged_examples(OTHER.dimension) == []
        assert set(home.serving().head.labels) == {"brick", "coins", "grass", "gravel"}
        assert home.serving().generation == home.store.generation_numbers()[-1] > serving
        with pytest.raises(HomeError, match="belongs to another backbone"):
            home.rollback(serving)
        assert home.keeps_crops
        more = write_pictures(tmp_path / "more", {"coins": 4, "brick": 4}, first=500)
        assert home.evaluate(more).accuracy == 1
        home.teach("coins", [more / "coins"])
        assert home.retrain().promoted
    assert steps[-1] == (8, 8)


def test_without_crops_it_says_what_has_to_be_taught_again_before_anything_changes(
    homes: Path, other_bundle: Path
) -> None:
    before, files = content(homes / "bare"), sorted(path.name for path in (homes / "bare").glob("*.edge"))
    with pytest.raises(HomeError) as caught:
        Learner.init(homes / "bare", other_bundle)
    message = str(caught.value)
    assert "of 8 examples taught here no crop was kept, so they must be taught again: coins 8; " in message
    assert "nothing was changed; remove them (edge forget 1 2 3 4 5 6 7 8), run edge init again" in message
    assert "\n" not in message
    assert content(homes / "bare") == before
    assert sorted(path.name for path in (homes / "bare").glob("*.edge")) == files


def test_what_it_says_to_do_works(homes: Path, other_bundle: Path, tmp_path: Path) -> None:
    with Learner(homes / "bare") as home:
        home.forget([str(number) for number in range(1, 9)])
    coins = write_pictures(tmp_path / "again", {"coins": 8})
    with Learner.init(homes / "bare", other_bundle) as home:
        home.teach("coins", [coins])
        assert home.retrain().promoted
        assert "coins" in home.serving().head.labels


@pytest.mark.parametrize("damage", [b"", b"no picture", None])
def test_a_crop_that_is_damaged_or_missing_is_named_and_nothing_changes(
    homes: Path, other_bundle: Path, damage: bytes | None
) -> None:
    Learner(homes / "kept").store.close()
    with sqlite3.connect(homes / "kept" / "learner.db") as db:
        db.execute("UPDATE examples SET crop = ? WHERE id = 3", (damage,))
    db.close()
    before = content(homes / "kept")
    with pytest.raises(HomeError, match=r"of 1 examples taught here .*: coins 1; .*edge forget 3\)"):
        Learner.init(homes / "kept", other_bundle)
    assert [line for line in content(homes / "kept") if "own_bundles" not in line] == [
        line for line in before if "own_bundles" not in line
    ]


def test_what_is_taught_while_others_are_embedded_is_embedded_too(
    homes: Path, other_bundle: Path, tmp_path: Path
) -> None:
    late = write_pictures(tmp_path / "late", {"coins": 2}, first=900)

    def teach_meanwhile(done: int, total: int) -> None:
        if (done, total) == (8, 8):
            with Learner(homes / "kept") as beside:
                beside.teach("coins", [late / "coins"])

    with Learner.init(homes / "kept", other_bundle, step=teach_meanwhile) as home:
        assert home.store.count() == 10
        assert home.store.foreign(OTHER.fingerprint) == []


def test_init_tells_how_many_were_embedded_again(run: Run, homes: Path, other_bundle: Path) -> None:
    code, out, _ = run("--home", str(homes / "kept"), "init", str(other_bundle))
    assert code == 0
    assert "another backbone: 8 examples were embedded again from their kept crops" in out.splitlines()
    code, out, _ = run("--home", str(homes / "kept"), "init", str(other_bundle))
    assert "embedded again" not in out
