"""A fleet's bundle: its examples are exact and say whose they are, and what a device has itself counts once."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import archive
from edge.errors import BundleError
from edge.head.moments import fixed
from edge.home.factory import DEVICE
from edge.learner import Learner
from edge.retraining.gather import gather
from edge.testing import surface
from tests.edge.fleet.pooled import pooled
from tests.refused import refused

OURS, THEIRS = "a" * 32, "b" * 32


def test_embeddings_of_a_fleets_bundle_are_those_of_the_devices_to_the_bit(tiny_bundle: Path, tmp_path: Path) -> None:
    before = archive.read(tiny_bundle).examples()
    bundle = pooled(tiny_bundle, tmp_path / "f.edge", [OURS, THEIRS])
    found = bundle.examples()
    assert np.array_equal(np.asarray(found.embeddings, np.float64), fixed(before.embeddings))
    assert np.array_equal(fixed(found.embeddings), fixed(before.embeddings))
    assert found.devices.tolist() == [0, 1] * 14 + [0, -1]
    assert not found.images[-1].any()
    bundle.verify()


def test_an_older_program_refuses_a_fleets_bundle_by_its_format_and_reads_all_others(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = pooled(tiny_bundle, tmp_path / "f.edge", [OURS])
    assert (bundle.manifest.format, bundle.manifest.reader) == (3, 3)
    monkeypatch.setattr("edge.bundle.manifest.FORMAT", 2)
    with refused("too-new", BundleError, 3, 2):
        archive.read(bundle.path)
    assert archive.read(tiny_bundle).manifest.reader == 1


@pytest.mark.parametrize("devices", [[THEIRS, OURS], [OURS, OURS]])
def test_devices_of_a_bundle_are_sorted_and_each_is_there_once(
    tiny_bundle: Path, tmp_path: Path, devices: list[str]
) -> None:
    with refused("bundle-invalid", BundleError, "devices"):
        pooled(tiny_bundle, tmp_path / "f.edge", devices)


def test_an_example_of_no_device_that_the_bundle_names_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    opened = pooled(tiny_bundle, tmp_path / "f.edge", [OURS])
    models = {model.file: opened.entry(model.file) for model in opened.manifest.models}
    bad = dataclasses.replace(opened.examples(), devices=np.full(30, 1, np.int32))
    with refused("bundle-invalid", BundleError, "device"):
        archive.write(tmp_path / "g.edge", opened.manifest, models, opened.golden(), bad)


def factory_rows(learner: Learner) -> list[int]:
    with learner.store.snapshot():
        return [row for row, name in enumerate(gather(learner).names) if name is not None]


def test_what_a_device_has_itself_or_contributed_counts_once(tiny_bundle: Path, tmp_path: Path) -> None:
    with Learner.init(tmp_path / "home", tiny_bundle) as learner:
        learner.teach("brick", [surface("brick", 900)])
        learner.teach("grass", [surface("grass", 901)], held_out=True)
        images = [example.image for example in learner.examples()]
        learner.remember(DEVICE, OURS)
    # rows 0 and 1 are pictures that this device has; 0, 2, 4, … are of its own id
    bundle = pooled(tiny_bundle, tmp_path / "f.edge", [OURS, THEIRS], images)
    with Learner.init(tmp_path / "home", bundle.path) as learner:
        assert factory_rows(learner) == [*range(3, 28, 2), 29]
        assert learner.retrain().factory_examples == 14
        learner.forget([example.id for example in learner.examples()])
        assert factory_rows(learner) == [*range(1, 28, 2), 29]  # what it forgot stays forgotten; another's is another's
    with Learner.init(tmp_path / "other", bundle.path) as other:
        assert factory_rows(other) == list(range(30))


def test_a_bundle_that_says_nothing_of_devices_is_read_as_ever(tiny_bundle: Path, tmp_path: Path) -> None:
    found = archive.read(tiny_bundle)
    assert found.manifest.devices == ()
    assert (found.examples().devices == -1).all()
    assert json.loads(found.text)["reader"] == 1
    with Learner.init(tmp_path / "home", tiny_bundle) as learner:
        learner.remember(DEVICE, OURS)
        assert factory_rows(learner) == list(range(30))
