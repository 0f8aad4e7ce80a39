"""The learner: what is taught is known, what is forgotten was never taught, and every step can be undone."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from edge.answers import Answer, Skipped
from edge.bundle import archive
from edge.bundle.manifest import BackboneInfo
from edge.care.verify import verify
from edge.errors import (
    BundleError,
    DatasetError,
    HomeError,
    HomeMissing,
    ImageError,
    LabelError,
    NotEnough,
    ParityError,
)
from edge.head.linear import Head
from edge.home.examples import Embedded
from edge.learner import Learner
from edge.network.backbone import RUNTIMES, Backbone
from edge.picture.frame import Frame
from edge.picture.preprocess import load
from edge.picture.same import Alike
from tests.refused import refused

from .conftest import INFO, SIDE, picture, write_bundle, write_pictures


@pytest.fixture(scope="session")
def coins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("coins"), {"coins": 8}, first=100) / "coins"


@pytest.fixture(scope="session")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(
        tmp_path_factory.mktemp("held_out"), dict.fromkeys(["brick", "coins", "grass", "gravel"], 6), 500
    )


def head_bytes(learner: Learner) -> bytes | None:
    return learner.store.generation(learner.serving().generation).head


def labels_of(learner: Learner, *files: Path) -> list[str | None]:
    answers = list(learner.classify(files))
    assert all(isinstance(a, Answer) for a in answers)
    return [a.label for a in answers if isinstance(a, Answer)]


def test_a_bundle_serves_at_once(learner: Learner, held_out: Path) -> None:
    files = sorted((held_out / "grass").iterdir())
    assert labels_of(learner, *files).count("grass") >= 5
    answer = learner.classify(files)[0]
    assert isinstance(answer, Answer)
    assert answer.generation == 1
    assert sum(guess.probability for guess in answer.top) == pytest.approx(1, abs=1e-5)
    assert answer.top[0].label == answer.label


def test_a_label_taught_here_is_known_after_retraining(learner: Learner, coins: Path, held_out: Path) -> None:
    before = learner.evaluate(held_out)
    assert before.untaught == ("coins",)
    taught = learner.teach("coins", [coins])
    assert len(taught.examples) == 8
    assert learner.status().untrained_examples == 8
    result = learner.retrain()
    assert (result.generation, result.promoted, result.local_examples, result.factory_examples) == (2, True, 8, 30)
    assert result.labels == ("brick", "coins", "grass", "gravel")
    after = learner.evaluate(held_out)
    assert after.accuracy > before.accuracy
    assert after.untaught == ()
    assert sum(map(sum, after.confusion)) == after.examples == 24
    assert learner.status().untrained_examples == 0


def test_the_factorys_labels_are_never_forgotten_by_teaching(learner: Learner, coins: Path, held_out: Path) -> None:
    def right(label: str) -> int:
        return labels_of(learner, *sorted((held_out / label).iterdir())).count(label)

    before = {label: right(label) for label in ("brick", "grass", "gravel")}
    learner.teach("coins", [coins])
    learner.retrain()
    assert learner.serving().head.labels == ("brick", "coins", "grass", "gravel")
    assert all(right(label) >= count - 1 for label, count in before.items())


def test_a_picture_taught_twice_is_stored_once_and_said_so(learner: Learner, coins: Path, tmp_path: Path) -> None:
    one = sorted(coins.iterdir())[0]
    (tmp_path / "copy.png").write_bytes(one.read_bytes())
    taught = learner.teach("coins", [one, one, tmp_path / "copy.png"])
    assert len(taught.examples) == 1
    assert len(taught.known) == 2
    again = learner.teach("brick", [one])
    assert again.examples == ()
    assert "already stored as 'coins'; to change it, run: edge relabel brick 1" in again.known[0].reason


def test_unreadable_pictures_stop_nobody(learner: Learner, coins: Path, tmp_path: Path) -> None:
    for name, data in {"a.jpg": b"", "b.jpg": b"text", "c.png": sorted(coins.iterdir())[0].read_bytes()[:90]}.items():
        (tmp_path / name).write_bytes(data)
    taught = learner.teach("coins", [tmp_path, coins])
    assert len(taught.examples) == 8
    assert [Path(s.image).name for s in taught.unreadable] == ["a.jpg", "b.jpg", "c.png"]
    answers = list(learner.classify_each([tmp_path / "a.jpg", sorted(coins.iterdir())[0]]))
    assert [type(a) for a in answers] == [Skipped, Answer]


def test_forgotten_examples_were_never_taught(learner: Learner, coins: Path, tmp_path: Path) -> None:
    learner.teach("coins", [coins])
    learner.retrain()
    expected = head_bytes(learner)
    extra = write_pictures(tmp_path / "extra", {"coins": 3, "grass": 2}, first=900)
    learner.teach("coins", [extra / "coins"], session="mistake")
    learner.teach("grass", [extra / "grass"], session="mistake")
    learner.retrain()
    assert head_bytes(learner) != expected
    gone = learner.forget(session="mistake")
    assert gone.examples == 5
    assert head_bytes(learner) == expected
    assert gone.overwritten == (3,)
    assert [e.usable for e in learner.history()] == [True, True, False, True]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.lists(st.integers(0, 7), unique=True, max_size=8), order=st.randoms())
def test_a_head_depends_on_what_is_taught_and_on_nothing_else(
    tiny_bundle: Path, coins: Path, tmp_path_factory: pytest.TempPathFactory, kept: list[int], order: object
) -> None:
    files = sorted(coins.iterdir())
    homes = tmp_path_factory.mktemp("homes")
    with Learner.init(homes / "straight", tiny_bundle) as straight:
        if kept:
            straight.teach("coins", [files[i] for i in sorted(kept)])
        straight.retrain()
        expected = head_bytes(straight)
    shuffled = list(range(8))
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    with Learner.init(homes / "detour", tiny_bundle) as detour:
        for i in shuffled:
            detour.teach("coins", [files[i]])
        detour.retrain()
        if len(kept) < 8:
            detour.forget([str(files[i]) for i in range(8) if i not in kept])
        assert head_bytes(detour) == expected


def test_a_forgotten_label_takes_the_factorys_examples_along(learner: Learner, held_out: Path) -> None:
    gone = learner.forget(label="gravel")
    assert gone.labels == ("gravel",)
    assert gone.overwritten == (1,)
    assert learner.serving().head.labels == ("brick", "grass")
    assert [c.label for c in learner.status().labels] == ["brick", "grass"]
    with refused("too-few-labels", NotEnough):
        learner.forget(label="grass")
    assert learner.serving().head.labels == ("brick", "grass"), "a refused forget changes nothing"
    with refused("label-unknown", LabelError, "'gravel'"):
        learner.forget(label="gravel")


def test_a_number_is_that_of_an_example_and_never_a_file(
    learner: Learner, coins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner.teach("coins", [coins])
    first, second = learner.examples()[:2]
    monkeypatch.chdir(tmp_path)
    (tmp_path / str(first.id)).write_bytes(Path(second.source).read_bytes())
    assert learner.find_examples(first.id) == [first]
    assert learner.find_examples(str(first.id)) == [second], "a text may be a file"
    for number in (0, -1, 10**30):
        with refused("example-unknown", LabelError, number):
            learner.forget(number)
    learner.forget([first.id])
    assert second in learner.examples()
    assert first not in learner.examples()


def test_relabelling_teaches_the_other_label(learner: Learner, coins: Path) -> None:
    taught = learner.teach("brick", [coins])
    changed = learner.relabel([str(i) for i in taught.examples], "coins")
    assert {e.label for e in changed} == {"coins"}
    learner.retrain()
    assert "coins" in learner.serving().head.labels
    with refused("example-unknown", LabelError, "'999'"):
        learner.relabel(["999"], "coins")


def test_a_renamed_label_needs_no_retraining(learner: Learner, held_out: Path) -> None:
    learner.rename("grass", "lawn")
    file = sorted((held_out / "grass").iterdir())[0]
    assert labels_of(learner, file) == ["lawn"]
    learner.retrain()
    assert labels_of(learner, file) == ["lawn"]
    with refused("label-unknown", LabelError, "'grass'"):
        learner.rename("grass", "meadow")
    with refused("label-taken", LabelError):
        learner.rename("lawn", "brick")


def test_rollback_serves_the_head_before(learner: Learner, coins: Path) -> None:
    first = head_bytes(learner)
    learner.teach("coins", [coins])
    learner.retrain()
    assert learner.rollback().generation == 1
    assert head_bytes(learner) == first
    assert learner.rollback(2).generation == 2
    with refused("generation-unknown", HomeError, "generation 7"):
        learner.rollback(7)
    learner.rollback(1)
    with refused("generation-unknown", HomeError, "first usable"):
        learner.rollback()


def test_a_head_that_learned_what_was_forgotten_cannot_serve_again(learner: Learner, coins: Path) -> None:
    learner.teach("coins", [coins])
    learner.retrain()
    learner.forget(["1"])
    with refused("generation-unusable", HomeError, "forgotten"):
        learner.rollback(2)
    assert learner.rollback().generation == 1


def test_history_tells_each_generations_figures(learner: Learner, coins: Path) -> None:
    learner.teach("coins", [coins])
    result = learner.retrain()
    first, second = learner.history()
    assert (first.serving, second.serving) == (False, True)
    assert (first.local_examples, second.local_examples) == (0, 8)
    assert second.loo_accuracy == result.loo_accuracy
    assert first.created < second.created


def test_evaluate_wants_class_folders(learner: Learner, tmp_path: Path) -> None:
    with refused("folder-missing", DatasetError, "not a folder"):
        learner.evaluate(tmp_path / "nowhere")
    with refused("no-label-folders", DatasetError):
        learner.evaluate(tmp_path / "home")


def test_teaching_nothing_or_badly_named_is_refused_and_changes_nothing(learner: Learner, coins: Path) -> None:
    with refused("label-invalid", LabelError):
        learner.teach("a/b", [coins])
    with refused("picture-missing", ImageError):
        learner.teach("coins", [coins / "gone.jpg"])
    assert learner.store.count() == 0


def test_init_refuses_a_network_that_answers_otherwise(tiny_bundle: Path, tmp_path: Path, network: Backbone) -> None:
    opened = archive.read(tiny_bundle)
    models = {m.file: opened.entry(m.file) for m in opened.manifest.models}
    golden = archive.Golden(opened.golden().images, opened.golden().embeddings + 0.5)
    archive.write(tmp_path / "strayed.edge", opened.manifest, models, golden, opened.examples())
    with refused("model-differs", ParityError, "workstation"):
        Learner.init(tmp_path / "home", tmp_path / "strayed.edge")
    assert not (tmp_path / "home").exists()


def test_init_cut_off_leaves_a_home_that_says_so(tmp_path: Path) -> None:
    with refused("home-missing", HomeMissing):
        Learner(tmp_path)
    from edge.home.store import open_store

    open_store(tmp_path, create=True).close()
    for opening in (Learner, verify):
        with refused("home-missing", HomeMissing, f"{tmp_path} has no bundle yet", f"edge --home {tmp_path} init"):
            opening(tmp_path)


def test_a_newer_bundle_of_the_same_backbone_keeps_what_was_taught(
    learner: Learner, coins: Path, network: Backbone, tmp_path: Path, held_out: Path
) -> None:
    learner.teach("coins", [coins])
    learner.retrain()
    folder = write_pictures(tmp_path / "more", {"brick": 10, "gravel": 10}, first=300)
    newer = write_bundle(tmp_path / "newer.edge", folder, network)
    with Learner.init(learner.home, newer) as upgraded:
        assert upgraded.serving().head.labels == ("brick", "coins", "gravel")
        assert upgraded.store.count() == 8
        assert [f.suffix for f in learner.home.iterdir()].count(".edge") == 1


def test_a_bundle_of_another_backbone_is_refused_where_something_was_taught(
    learner: Learner, coins: Path, network: Backbone, tmp_path: Path, photo_folder: Path
) -> None:
    other = BackboneInfo(**{**INFO.__dict__, "fingerprint": "0" * 64, "name": "other"})
    foreign = write_bundle(tmp_path / "other.edge", photo_folder, network, other)
    Learner.init(learner.home, foreign).store.close()  # nothing taught: nothing lost
    Learner.init(learner.home, tmp_path / "other.edge").store.close()
    with Learner(learner.home) as home:
        home.teach("coins", [coins])
        with refused("backbone-changed", HomeError, "8 examples"):
            Learner.init(learner.home, write_bundle(tmp_path / "first.edge", photo_folder, network))
        assert home.info.name == "other"


def test_asking_for_a_model_that_is_not_there_names_those_that_are(tiny_bundle: Path, tmp_path: Path) -> None:
    with refused("bundle-lacks-model", BundleError, "int8", "onnx fp32, tflite fp32"):
        Learner.init(tmp_path / "home", tiny_bundle, precision="int8")


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_the_exported_classifier_answers_as_classify_does(
    learner: Learner, coins: Path, tmp_path: Path, format: str
) -> None:
    learner.teach("coins", [coins])
    learner.retrain()
    made = learner.export(tmp_path / f"whole.{format}")
    assert made.labels == ("brick", "coins", "grass", "gravel")
    data = (tmp_path / f"whole.{format}").read_bytes()
    files = sorted(coins.iterdir())
    from edge.picture.preprocess import load

    images = np.stack([load(f, INFO.input_size, INFO.short_side) for f in files])
    runtime = next((r for r in RUNTIMES if r.format == format and r.installed), None)
    if runtime is None:
        pytest.skip(f"no runtime for {format} here")
    from edge.network.backbone import open_backbone

    probabilities = open_backbone(data, runtime).embed(images)
    for row, answer in zip(probabilities, learner.classify(files), strict=True):
        assert isinstance(answer, Answer)
        for guess in answer.top:
            assert row[made.labels.index(guess.label)] == pytest.approx(guess.probability, abs=1e-5)


@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_a_device_sees_the_sides_of_wide_pictures_if_its_bundle_says_so(
    tmp_path: Path, network: Backbone, photo_folder: Path, fit: str
) -> None:
    """Coins lie at the far left, where the centre square does not reach."""
    wide = tmp_path / "wide"
    for label, seeds in {"brick": range(6), "coins": range(6)}.items():
        (wide / label).mkdir(parents=True)
        for seed in seeds:
            photo = Image.new("RGB", (160, 40), "grey")
            photo.paste(picture(label, seed), (0, 0))
            photo.save(wide / label / f"{seed}.png")
    made = write_bundle(tmp_path / "wide.edge", photo_folder, network, replace(INFO, fit=fit))
    with Learner.init(tmp_path / "home", made) as home:
        seen = [home.backbone(1).embed(load(file, SIDE, INFO.short_side, fit)[None]) for file in wide.rglob("*.png")]
        found = [photo.embedding for photo in home.embed(list(wide.rglob("*.png")), set())]
        np.testing.assert_allclose(np.stack(found), np.concatenate(seen), rtol=1e-5, atol=1e-5)  # type: ignore[arg-type]
        home.teach("coins", [wide / "coins"])
        home.teach("brick", [wide / "brick"])
        home.retrain(force=True)
        for answer in home.classify(sorted((wide / "coins").iterdir())):
            assert isinstance(answer, Answer)
            assert answer.top[0].label == "coins"
        frame = Frame("frame", (wide / "coins" / "0.png").read_bytes(), 0.0)
        empty = Frame("empty", _png(Image.new("RGB", (160, 40), "grey")), 1.0)
        alike = Alike(None, 3, home.info.fit)
        assert alike.new(frame)
        assert alike.new(empty), "coins that came at the side are something new"


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_export_wants_a_known_ending(learner: Learner, tmp_path: Path) -> None:
    with refused("output-unwritable", BundleError, ".onnx", ".tflite"):
        learner.export(tmp_path / "whole.pt")


def test_export_lists_the_labels_beside_the_model_if_asked(learner: Learner, tmp_path: Path) -> None:
    made = learner.export(tmp_path / "whole.tflite", tmp_path / "labels.txt")
    assert made.labels_file == str(tmp_path / "labels.txt")
    assert (tmp_path / "labels.txt").read_text(encoding="utf-8").split("\n") == [*made.labels, ""]
    learner.rename("brick", "ziegel 🧱")
    again = learner.export(tmp_path / "whole.tflite", tmp_path / "labels.txt")  # both are ours: written over
    assert (tmp_path / "labels.txt").read_text(encoding="utf-8").splitlines() == list(again.labels)
    assert "ziegel 🧱" in again.labels


@pytest.mark.parametrize(
    ("model", "labels", "code", "fact"),
    [
        ("missing/whole.onnx", None, "output-unwritable", "missing"),
        ("whole.onnx", "missing/labels.txt", "output-unwritable", "missing"),
        ("whole.onnx", "labels.csv", "output-unwritable", ".txt"),
        ("photo.onnx", None, "output-exists", "onnx"),
        ("photo.tflite", None, "output-exists", "tflite"),
        ("whole.onnx", "diary.txt", "output-exists", "diary.txt"),
        ("folder.onnx", None, "output-unwritable", "folder"),
    ],
)
def test_export_writes_over_its_own_kind_of_file_and_nothing_else(
    learner: Learner, tmp_path: Path, model: str, labels: str | None, code: str, fact: str
) -> None:
    picture("coins", 1).save(tmp_path / "photo.onnx", "PNG")
    (tmp_path / "photo.tflite").write_bytes((tmp_path / "photo.onnx").read_bytes())
    (tmp_path / "diary.txt").write_text("Dear diary,\ntoday it rained.\n")
    (tmp_path / "folder.onnx").mkdir()
    before = {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    with refused(code, BundleError, fact):
        learner.export(tmp_path / model, tmp_path / labels if labels else None)
    assert before == {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}


def test_a_teacher_killed_half_way_loses_nothing_acknowledged(learner: Learner, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "many", {"coins": 140}, first=1000) / "coins"
    script = f"""
import os, sys
from pathlib import Path
from edge.head.linear import Head
from edge.learner import Learner
from edge.learning import teaching
teaching.BATCH = 16
with Learner(Path({str(learner.home)!r})) as home:
    home.teach("coins", [Path({str(folder)!r})], progress=lambda done, total: done < 100 or os.kill(os.getpid(), 9))
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert learner.store.count() == 96
    taught = learner.teach("coins", [folder])
    assert (len(taught.known), len(taught.examples)) == (96, 44)


def test_answers_are_json(learner: Learner, coins: Path) -> None:
    from edge.answers import to_json

    learner.teach("coins", [coins])
    for answer in (learner.retrain(), learner.status(), learner.history(), *learner.classify(sorted(coins.iterdir()))):
        json.dumps(to_json(answer), allow_nan=False)


def test_pictures_of_one_session_are_left_out_together(learner: Learner, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "burst", {"coins": 1}) / "coins"
    for i in range(6):
        image = picture("coins", 0)
        image.putpixel((0, 0), (i, i, i))
        image.save(folder / f"frame_{i}.png")
    learner.teach("coins", [folder], session="one burst")
    result = learner.retrain()
    assert result.scope == "all"
    assert [s.session for s in learner.store.examples()] == ["one burst"] * 7


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"), (disk / "fill").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))


def test_a_full_disk_refuses_to_learn_and_goes_on_answering(
    small_disk: Path, tiny_bundle: Path, coins: Path, tmp_path: Path
) -> None:
    home = small_disk / "home"
    Learner.init(home, tiny_bundle).store.close()
    fill(small_disk)
    with Learner(home) as learner:
        with refused("home-unwritable", HomeError, "disk is full"):
            learner.teach("coins", [coins])
        assert len(labels_of(learner, *sorted(coins.iterdir()))) == 8
    (small_disk / "fill").unlink()
    with Learner(home) as learner:
        assert learner.store.count() == 0
        assert len(learner.teach("coins", [coins]).examples) == 8


def test_a_read_only_disk_refuses_to_learn_and_goes_on_answering(
    small_disk: Path, tiny_bundle: Path, coins: Path
) -> None:
    home = small_disk / "home"
    Learner.init(home, tiny_bundle).store.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with Learner(home) as learner:
        with refused("home-unwritable", HomeError, "read-only"):
            learner.teach("coins", [coins])
        assert len(labels_of(learner, *sorted(coins.iterdir()))) == 8
    with refused("home-unwritable", HomeError, "cannot be used as"):
        Learner.init(home, tiny_bundle)


def test_a_bundle_that_does_not_fit_on_the_disk_is_refused_and_leaves_no_half(
    small_disk: Path, tiny_bundle: Path
) -> None:
    home = small_disk / "home"
    Learner.init(home, tiny_bundle).store.close()
    before = sorted(p.name for p in home.iterdir())
    other = tiny_bundle.with_name("larger.edge")
    opened = archive.read(tiny_bundle)
    models = {m.file: opened.entry(m.file) for m in opened.manifest.models}
    golden = archive.Golden(np.repeat(opened.golden().images, 500, 0), np.repeat(opened.golden().embeddings, 500, 0))
    archive.write(other, opened.manifest, models, golden, opened.examples())
    with refused("home-unwritable", HomeError, "cannot be copied", "No space left"):
        Learner.init(home, other)
    assert sorted(p.name for p in home.iterdir()) == before
    with Learner(home) as learner:
        assert learner.serving().generation == 1


def test_more_examples_than_memory_should_hold_are_learned_in_chunks(learner: Learner) -> None:
    rng, colours = np.random.default_rng(0), ("coins", "grass", "gravel")
    means = rng.normal(size=(3, INFO.dimension))
    columns = rng.integers(0, 3, 5000)
    x = (means[columns] + rng.normal(size=(5000, INFO.dimension))).astype(np.float32)
    with learner.store.transaction():
        for number, (row, column) in enumerate(zip(x, columns, strict=True)):
            item = Embedded(colours[column], row, f"{number:064}", "camera")
            learner.store.add_example(item, INFO.fingerprint, f"burst {number // 3}" if number % 2 else None, "now")
    answer = learner.retrain()
    assert (answer.local_examples, answer.scope) == (5000, "local")
    head = Head.from_bytes(head_bytes(learner) or b"")
    names = np.array(head.labels)[head.scores(x).argmax(axis=1)]
    right = np.mean(names == np.array(colours)[columns])
    assert answer.loo_accuracy is not None
    assert abs(answer.loo_accuracy - right) < 0.02
