"""A home that says unknown, sees a wrong picture, notices drift, and can say why."""

import dataclasses
import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.answers import Answer
from edge.bundle import archive
from edge.bundle.archive import FactoryDomain
from edge.care import doctor
from edge.care.doctor import examine
from edge.cli import app
from edge.home.database import FILE
from edge.learner import Learner
from edge.network.backbone import Backbone
from edge.picture.preprocess import load
from edge.picture.region import Region
from edge.unknown.domain import Domain, look
from edge.unknown.gate import Background
from tests.edge.conftest import INFO, SIDE, write_bundle, write_pictures

Clock = Callable[[], datetime]


@pytest.fixture(scope="session")
def trusted_bundle(tmp_path_factory: pytest.TempPathFactory, network: Backbone, photo_folder: Path) -> Path:
    """The tiny bundle with a background of random pictures, and with the domain of its photos."""
    folder = tmp_path_factory.mktemp("trusted")
    plain = archive.read(write_bundle(folder / "plain.edge", photo_folder, network))
    rng = np.random.default_rng(3)
    noise = [rng.integers(0, 256, (1 + i % 6, 1 + i % 5, 3), np.uint8) for i in range(200)]
    generic = np.stack([np.asarray(Image.fromarray(n).resize((SIDE, SIDE))) for n in noise])
    looks = [look(load(file, SIDE, INFO.short_side)) for file in sorted(photo_folder.rglob("*.png"))]
    domain = FactoryDomain(Domain.of(np.stack([x.statistics for x in looks])), np.stack([x.thumb for x in looks]))
    models = {m.file: plain.entry(m.file) for m in plain.manifest.models}
    manifest = dataclasses.replace(plain.manifest, background="200 random pictures")
    background = Background.of(network.embed(generic))
    path = folder / "trusted.edge"
    archive.write(path, manifest, models, plain.golden(), plain.examples(), background, domain)
    return path


@pytest.fixture
def learner(tmp_path: Path, trusted_bundle: Path, clock: Clock) -> Iterator[Learner]:
    with Learner.init(tmp_path / "home", trusted_bundle, clock=clock) as made:
        yield made


@pytest.fixture(scope="session")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("new"), dict.fromkeys(["brick", "coins", "grass"], 20), 300)


def answers(learner: Learner, folder: Path, explain: bool = False) -> list[Answer]:
    found = list(learner.classify(sorted(folder.iterdir()), explain))
    assert all(isinstance(answer, Answer) for answer in found)
    return [answer for answer in found if isinstance(answer, Answer)]


def share(learner: Learner, folder: Path) -> float:
    return float(np.mean([answer.unknown is True for answer in answers(learner, folder)]))


def gate_bytes(learner: Learner) -> bytes | None:
    return learner.store.generation(learner.serving().generation).gate


def test_unlike_everything_taught_is_unknown_until_it_is_taught(learner: Learner, new: Path) -> None:
    assert share(learner, new / "coins") >= 0.8
    assert share(learner, new / "brick") <= 0.2
    for answer in answers(learner, new / "coins"):
        assert (answer.label is None) == (answer.unknown is True)
        assert answer.top[0].probability == answer.probability
    learner.teach("coins", sorted((new / "coins").iterdir())[:10])
    learner.retrain()
    assert share(learner, new / "coins") <= 0.3


def test_a_label_of_one_picture_is_not_judged_yet_and_said_so(learner: Learner, new: Path) -> None:
    learner.teach("coins", sorted((new / "coins").iterdir())[:1])
    assert "coins" in learner.retrain().unknown_note
    named = [a for a in answers(learner, new / "coins") if a.top[0].label == "coins"]
    assert named
    assert all(a.unknown is None and a.label == "coins" for a in named)


def test_full_coverage_switches_it_off_and_is_remembered(learner: Learner, new: Path) -> None:
    assert learner.retrain(1.0).known_coverage is None
    assert learner.retrain().known_coverage is None
    assert {answer.unknown for answer in answers(learner, new / "coins")} == {None}
    assert learner.status().known_coverage is None
    assert learner.retrain(0.9).known_coverage == 0.9
    assert share(learner, new / "coins") >= 0.8


def test_evaluate_counts_the_unknown_beside_the_heads_answers(learner: Learner, new: Path) -> None:
    result = learner.evaluate(new)
    assert result.unknown == sum(result.unknown_by_truth)
    assert result.unknown_by_truth[result.truths.index("coins")] >= 16
    assert sum(map(sum, result.confusion)) == result.examples
    learner.retrain(1.0)
    assert learner.evaluate(new).unknown is None


def test_the_gate_goes_back_with_its_head(learner: Learner, new: Path) -> None:
    before = gate_bytes(learner)
    learner.teach("coins", [new / "coins"])
    learner.retrain()
    assert gate_bytes(learner) != before
    learner.rollback()
    assert gate_bytes(learner) == before
    assert share(learner, new / "coins") >= 0.8


def test_forgetting_leaves_the_gate_that_was_never_taught(
    learner: Learner, new: Path, tmp_path: Path, trusted_bundle: Path
) -> None:
    files = sorted((new / "coins").iterdir())
    learner.teach("coins", files[:12])
    learner.retrain()
    learner.forget([str(file) for file in files[8:12]])
    with Learner.init(tmp_path / "other", trusted_bundle) as never:
        never.teach("coins", files[:8])
        never.retrain()
        assert gate_bytes(never) == gate_bytes(learner) is not None
    assert [g.gate for g in learner.store.each_generation()][1] is None, (
        "the gate that had learned from them is overwritten"
    )


def test_a_renamed_label_is_judged_as_before(learner: Learner, new: Path) -> None:
    before = [answer.unknown for answer in answers(learner, new / "brick")]
    learner.rename("brick", "zz wall")
    assert [answer.unknown for answer in answers(learner, new / "brick")] == before


def test_a_bundle_without_background_or_domain_still_gates(tmp_path: Path, tiny_bundle: Path, new: Path) -> None:
    with Learner.init(tmp_path / "plain", tiny_bundle) as learner:
        assert learner.background.basis.shape[0] == 0
        assert learner.retrain().known_coverage == 0.95
        assert share(learner, new / "brick") + share(learner, new / "grass") <= 0.5
        assert learner.teach("coins", [new / "coins"]).complaints == ()


def test_a_gate_of_another_background_is_not_used(
    learner: Learner, new: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    with Learner.init(tmp_path / "home", tiny_bundle) as newer:
        newer.rollback(1)
        assert {answer.unknown for answer in answers(newer, new / "coins")} == {None}
        newer.retrain()
        assert None not in {answer.unknown for answer in answers(newer, new / "brick")}


def test_a_home_of_the_first_schema_is_brought_up_to_date(learner: Learner, new: Path, tmp_path: Path) -> None:
    learner.teach("coins", [new / "coins"])
    learner.close()
    old = sqlite3.connect(tmp_path / "home" / FILE)
    old.executescript(
        "DROP INDEX examples_at_a_glance; ALTER TABLE heads DROP COLUMN gate; ALTER TABLE heads DROP COLUMN own;"
        "ALTER TABLE heads DROP COLUMN crc; ALTER TABLE examples DROP COLUMN crc;"
        "ALTER TABLE examples DROP COLUMN thumb; ALTER TABLE examples DROP COLUMN look;"
        "ALTER TABLE examples DROP COLUMN relabelled_after; PRAGMA user_version = 1"
    )
    old.close()
    with Learner(tmp_path / "home") as again:
        assert {answer.unknown for answer in answers(again, new / "coins")} == {None}
        assert again.status().untrained_examples == 20
        result = again.retrain()
        assert (result.known_coverage, result.pixel_accuracy) == (0.95, None)
        assert again.status().untrained_examples == 0
        assert again.status().labels[1].local == 20


def test_classifying_writes_nothing_for_each_picture_also_after_a_change(learner: Learner, new: Path) -> None:
    files = sorted((new / "coins").iterdir())
    learner.teach("coins", files[:5])
    learner.retrain()
    answers(learner, new / "coins")
    learner.teach("coins", files[5:6])
    answers(learner, new / "coins")
    before = learner.store.version()
    for _ in range(3):
        answers(learner, new / "coins")
    assert learner.store.version() == before


def test_the_nearest_examples_explain_an_answer(learner: Learner, new: Path) -> None:
    files = sorted((new / "coins").iterdir())
    taught = learner.teach("coins", files[:5])
    (answer,) = list(learner.classify(files[:1], explain=True))
    assert isinstance(answer, Answer)
    first = answer.nearest[0]
    assert (first.example, first.label, first.source) == (taught.examples[0], "coins", str(files[0]))
    assert first.similarity == pytest.approx(1, abs=1e-5)
    assert len(answer.nearest) == 5
    learner.forget(label="grass")
    (answer,) = list(learner.classify(sorted((new / "grass").iterdir())[:1], explain=True))
    assert isinstance(answer, Answer)
    assert "grass" not in {neighbour.label for neighbour in answer.nearest}


def test_drift_shows_frames_unlike_the_taught_and_an_unchanged_camera_shows_none(
    tmp_path: Path, trusted_bundle: Path, new: Path
) -> None:
    Learner.init(tmp_path / "home", trusted_bundle).close()

    def after(folder: Path) -> Learner:
        with Learner(tmp_path / "home") as learner:
            answers(learner, folder)
        return Learner(tmp_path / "home")

    with after(new / "brick") as learner:
        drift = learner.status().drift
        assert drift is not None
        assert (drift.frames, drift.drifted) == (20, False)
    with after(new / "coins") as learner:
        drift = learner.status().drift
        assert drift is not None
        assert (drift.frames, drift.drifted) == (40, True)
        learner.retrain()
        assert learner.status().drift is None, "another head has seen no frame yet"


def test_classifying_writes_once_a_process_and_never_fails_for_it(learner: Learner, new: Path, tmp_path: Path) -> None:
    answers(learner, new / "brick")
    assert learner.store.get("recent") is None
    other = sqlite3.connect(tmp_path / "home" / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    learner.close()
    other.execute("ROLLBACK")
    other.close()
    with Learner(tmp_path / "home") as again:
        assert again.store.get("recent") is None
        answers(again, new / "brick")
    with Learner(tmp_path / "home") as again:
        assert len(json.loads(again.store.get("recent") or "{}")["ranks"]) == 20


def dark(folder: Path, target: Path) -> Path:
    target.mkdir()
    for file in sorted(folder.iterdir()):
        with Image.open(file) as image:
            image.point(lambda level: 0.3 * level).save(target / file.name)
    return target


def test_teach_and_doctor_say_what_is_wrong_with_the_pictures(learner: Learner, new: Path, tmp_path: Path) -> None:
    night = dark(new / "brick", tmp_path / "night")
    (line, *_) = learner.teach("brick", [night]).complaints
    assert line.startswith("20 of 20 pictures are too dark (such as ")
    assert "of the usual light): add light" in line
    found = [f for f in doctor.examine(learner.home, [night]) if f.check == "pictures"]
    assert any("too dark" in f.seen and not f.ok for f in found)
    found = [f for f in doctor.examine(learner.home, [new / "brick", new / "grass"]) if f.check == "pictures"]
    assert [f.ok for f in found] == [True], found


def test_another_scene_is_named_where_the_label_is_known_and_not_where_it_is_new(
    learner: Learner, new: Path, tmp_path: Path
) -> None:
    assert not any("another scene" in line for line in learner.teach("coins", [new / "coins"]).complaints)
    negative = tmp_path / "negative"
    negative.mkdir()
    for file in (new / "brick").iterdir():
        Image.open(file).convert("RGB").point(lambda level: 255 - level).save(negative / file.name)
    found = [f for f in doctor.examine(learner.home, [negative]) if f.check == "pictures"]
    assert any("another scene" in f.seen for f in found), found
    assert any("another scene" in line for line in learner.teach("brick", [negative]).complaints)


def test_doctor_reports_pictures_that_are_none_in_a_line(learner: Learner, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no picture")
    found = [f for f in doctor.examine(learner.home, [tmp_path / "x.jpg"]) if f.check == "pictures"]
    assert [f.ok for f in found] == [False]
    found = [f for f in doctor.examine(learner.home, [tmp_path / "absent"]) if f.check == "pictures"]
    assert "does not exist" in found[0].seen


def test_retrain_weighs_the_backbone_against_pixels(learner: Learner, new: Path) -> None:
    """Plain coloured surfaces: 8 × 8 pixels tell them apart, and a random network does no better."""
    learner.teach("coins", [new / "coins"])
    result = learner.retrain()
    assert result.pixel_accuracy is not None
    assert result.pixel_accuracy > 0.9
    assert result.loo_accuracy is not None
    assert ("edge-export adapt" in result.advice) == (
        result.loo_accuracy <= result.pixel_accuracy and result.loo_accuracy < 0.97
    )


def test_json_says_unknown_with_a_null_label_and_nearest_only_on_request(
    learner: Learner, new: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    learner.close()

    def ask(*args: object) -> list[dict[str, object]]:
        monkeypatch.setattr("sys.argv", ["edge", "--home", str(learner.home), "--json", *map(str, args)])
        with pytest.raises(SystemExit):
            app.main()
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    lines = ask("classify", new / "coins")
    unknown = [line for line in lines if line["unknown"]]
    assert unknown
    assert all(line["label"] is None for line in unknown)
    assert "nearest" not in lines[0]
    assert len(ask("classify", new / "coins", "--explain")[0]["nearest"]) == 5  # type: ignore[arg-type]


def test_doctor_compares_what_is_inside_the_region(learner: Learner, new: Path, tmp_path: Path) -> None:
    burnt = []
    for file in sorted((new / "brick").iterdir())[:6]:
        whole = Image.new("RGB", (80, 40), "white")
        with Image.open(file) as inside:
            whole.paste(inside, (0, 0))
        whole.save(tmp_path / file.name)
        burnt.append(tmp_path / file.name)

    def seen() -> list[str]:
        return [f.seen for f in examine(tmp_path / "home", burnt) if f.check == "pictures"]

    assert seen() != ["6 resemble those of the bundle"]
    learner.put_region(Region.parse("0,0,0.5,1"))
    assert seen() == ["6 resemble those of the bundle"]
