"""Groups in a bundle: photos of one burst are left out together, by whatever measures on the device."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.audit.findings import gather, look_through
from edge.bundle import archive
from edge.bundle.archive import FactoryExamples
from edge.errors import BundleError
from edge.head.fit import Examples, fit
from edge.learner import Learner
from edge.metrics.promote import tally
from edge.network.backbone import Backbone
from edge.retraining.contest import Contest
from edge.retraining.retrain import fit_anew
from tests.edge.conftest import write_bundle, write_pictures
from tests.refused import refused


@pytest.fixture
def learner(tmp_path: Path, network: Backbone, photo_folder: Path) -> Iterator[Learner]:
    """A home of a bundle whose bricks are of one burst, whose grass is of five, and whose gravel says nothing."""

    def group_of(file: Path) -> int:
        return {"brick": 0, "grass": 1 + int(file.stem[-3:]) // 2, "gravel": -1}[file.parent.name]

    write_bundle(tmp_path / "b.edge", photo_folder, network, group_of=group_of)
    with Learner.init(tmp_path / "home", tmp_path / "b.edge") as learner:
        yield learner


def test_a_burst_of_the_factory_is_left_out_whole(learner: Learner) -> None:
    examples = learner.bundle.examples()
    labels = tuple(learner.bundle.manifest.labels[i] for i in examples.labels)
    sessions = tuple(None if group < 0 else f"burst {group}" for group in examples.groups.tolist())
    wanted = fit(Examples(examples.embeddings, labels, sessions))
    with learner.store.transaction():
        found = fit_anew(learner, 0.95).judged.fit
    np.testing.assert_array_equal(found.loo, wanted.loo)
    np.testing.assert_array_equal(found.head.weights, wanted.head.weights)
    unmeasured = np.isnan(found.loo).any(axis=1)
    assert {label for label, nothing in zip(labels, unmeasured, strict=True) if nothing} == {"brick"}
    alone = fit(Examples(examples.embeddings, labels))
    assert not np.isnan(alone.loo).any()


def test_a_local_session_of_a_groups_name_is_another_one(learner: Learner, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path, dict.fromkeys(["brick", "grass"], 6), 100)
    for label in ("brick", "grass"):
        learner.teach(label, [pictures / label], session="0")
    with learner.store.transaction():
        loo = fit_anew(learner, 0.95).judged.fit.loo
    assert not np.isnan(loo[:12]).any()  # bricks of the factory are left


def test_the_audit_leaves_bursts_out_and_counts_them_once(learner: Learner, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path, {"brick": 2}, 100)
    learner.teach("brick", [pictures / "brick"])
    looked = look_through(gather(learner)).answer
    assert [(thin.label, thin.independent) for thin in looked.thin] == [("brick", 2)]  # and one burst: under five


def test_a_burst_of_the_factory_counts_once_in_the_contest(learner: Learner) -> None:
    with learner.store.transaction():
        measured = fit_anew(learner, 0.95)
        gathered, result = measured.gathered, measured.judged.fit
        contest = Contest(learner, result.head, result.loo, gathered.basis.taught, gathered.bundled, gathered.names)
        assert contest.factory is not None
        found = tally(contest.factory)
    assert found.examples == 20  # the bricks were not measured
    assert found.independent == 15


def test_groups_are_read_back_and_a_bundle_without_them_is_as_it_was(tiny_bundle: Path, tmp_path: Path) -> None:
    opened = archive.read(tiny_bundle)
    examples = opened.examples()
    assert (examples.groups == -1).all()
    models = {m.file: opened.entry(m.file) for m in opened.manifest.models}
    groups = (np.arange(len(examples.labels)) // 3 - 1).astype(np.int32)
    some = FactoryExamples(examples.embeddings, examples.labels, examples.trained_on, groups)
    again = archive.write(tmp_path / "b.edge", opened.manifest, models, opened.golden(), some)
    np.testing.assert_array_equal(again.examples().groups, groups)
    assert again.manifest.reader == 1  # older programs read it, and leave each photo out by itself


@pytest.mark.parametrize(("groups", "fact"), [([-2] * 30, "group is -2"), ([0] * 29, "groups is int32 (29,)")])
def test_groups_that_cannot_be_are_refused_by_name(
    tiny_bundle: Path, tmp_path: Path, groups: list[int], fact: str
) -> None:
    opened = archive.read(tiny_bundle)
    examples = opened.examples()
    models = {m.file: opened.entry(m.file) for m in opened.manifest.models}
    odd = FactoryExamples(
        examples.embeddings, examples.labels, examples.trained_on, np.array([0, *groups[1:]], np.int32)
    )
    with refused("bundle-invalid", BundleError, fact):
        archive.write(tmp_path / "b.edge", opened.manifest, models, opened.golden(), odd)
