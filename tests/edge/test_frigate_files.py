"""Frigate's own files: its training folders are taught and reviewed, and its classification reads what is exported."""

import importlib
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge.errors import BundleError
from edge.learner import Learner
from edge.watch.review import Review
from tests.refused import refused

from .conftest import Run, picture

CAT = "1753255555.475377-mxklsc"


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """/media/frigate/clips/cats as Frigate 0.18 writes it (frigate/api/classification.py, categorize; and
    custom_classification.py, write_classification_attempt)."""
    model = tmp_path / "clips" / "cats"
    for name, surface in (("Leo", "brick"), ("none", "grass")):
        (model / "dataset" / name).mkdir(parents=True)
        for seed in range(6):
            picture(surface, seed).save(model / "dataset" / name / f"{name}-175325{seed:04}.123456-a1b2c{seed}.png")
    (model / "train").mkdir()
    for seed in range(3):
        picture("brick", 50 + seed).save(model / "train" / f"{CAT}-17532555{seed}5.8-Leo-0.9{seed}.webp", lossless=True)
    picture("coins", 60).save(model / "train" / "none-none-1753255999.8-unknown-0.0.webp")
    picture("coins", 61).save(model / "train" / "example_003.jpg")
    (model / ".training_metadata.json").write_text("{}")
    return model


@pytest.fixture
def learner(tmp_path: Path, tiny_bundle: Path) -> Any:
    with Learner.init(tmp_path / "home", tiny_bundle) as opened:
        yield opened


def test_the_classes_of_a_model_are_taught_and_its_guesses_are_not(learner: Learner, clips: Path) -> None:
    taught = learner.teach_folders(clips)
    assert {one.label: len(one.examples) for one in taught.taught} == {"Leo": 6, "none": 6}
    left = {group.reason: group.count for group in taught.files.left_out}
    assert left == {"frigate-guess": 5, "system": 1}


def test_the_classes_alone_are_ordinary_folders_of_labels(learner: Learner, clips: Path) -> None:
    assert {one.label for one in learner.teach_folders(clips / "dataset").taught} == {"Leo", "none"}


def test_teaching_says_where_the_guesses_are_named(run: Run, tmp_path: Path, clips: Path, tiny_bundle: Path) -> None:
    assert run("init", tiny_bundle)[0] == 0
    code, out, err = run("teach", "--folders", clips)
    assert code == 0
    assert "edge review" in out + err


def test_guesses_are_reviewed_and_those_of_one_object_share_a_session(learner: Learner, clips: Path) -> None:
    review = Review(learner, clips / "train")
    waiting = review.waiting()
    assert len(waiting) == 5
    for path in waiting:
        review.name(path, "Leo")
    sessions = [example.session for example in learner.find_examples(label="Leo")]
    assert sorted(set(sessions)) == sorted([CAT, "example_003.jpg", "none-none-1753255999.8-unknown-0.0.webp"])
    assert sessions.count(CAT) == 3
    assert len(list((clips / "train" / "labelled" / "Leo").iterdir())) == 5
    assert {one.label for one in learner.teach_folders(clips).taught} == {"Leo", "none"}, "it is Frigate's folder still"


def test_a_network_of_another_size_is_refused_under_frigates_name_of_the_list(learner: Learner, tmp_path: Path) -> None:
    with refused("model-unsuitable", BundleError, "224", str(learner.info.input_size)):
        learner.export(tmp_path / "model.tflite", tmp_path / "labelmap.txt")
    assert not (tmp_path / "model.tflite").exists()


class AsFrigate:
    """What CustomObjectClassificationProcessor does with the two files of a model, line by line, without its config.

    Source: frigate/data_processing/real_time/custom_classification.py and `load_labels` in frigate/util/builtin.py of
    Frigate 0.18.0, commit e3fa701; its resize is OpenCV's default, bilinear without antialiasing.
    """

    def __init__(self, folder: Path) -> None:
        try:
            interpreter = importlib.import_module("tflite_runtime.interpreter")
        except ModuleNotFoundError:
            interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="no runtime for TFLite is here")
        self.interpreter = interpreter.Interpreter(model_path=str(folder / "model.tflite"), num_threads=2)
        self.interpreter.allocate_tensors()
        self.tensor_input_details = self.interpreter.get_input_details()
        self.tensor_output_details = self.interpreter.get_output_details()
        with (folder / "labelmap.txt").open(encoding="utf-8") as file:
            self.labelmap = {index: line.strip() for index, line in enumerate(file.readlines())}

    def classify(self, crop: Image.Image) -> tuple[str, float]:
        resized = np.asarray(crop.resize((224, 224), Image.Resampling.BILINEAR))
        self.interpreter.set_tensor(self.tensor_input_details[0]["index"], np.expand_dims(resized, axis=0))
        self.interpreter.invoke()
        res = self.interpreter.get_tensor(self.tensor_output_details[0]["index"])[0]
        probs = res / res.sum(axis=0)
        best = int(np.argmax(probs))
        return self.labelmap[best], float(round(probs[best], 2))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_frigates_own_steps_answer_as_the_home_does(surfaces: Path, tmp_path: Path, precision: str) -> None:
    pytest.importorskip("numpy")
    photos = sorted((surfaces / "sample" / "test").glob("*/*"))[::4]
    with Learner.init(tmp_path / "home", surfaces / "surfaces.edge", precision=precision) as learner:
        learner.export(tmp_path / "model.tflite", tmp_path / "labelmap.txt")
        squares = [Image.open(photo).convert("RGB") for photo in photos]
        squares = [one.crop((0, 0, min(one.size), min(one.size))) for one in squares]
        ours = [answer.top[0].label for answer in learner.classify(squares)]
    as_frigate = AsFrigate(tmp_path)
    theirs = [as_frigate.classify(one) for one in squares]
    (details,) = as_frigate.tensor_input_details
    assert details["dtype"] is np.uint8, "set_tensor takes the crop as it is"
    assert list(details["shape"]) == [1, 224, 224, 3]
    same = sum(label == mine for (label, _), mine in zip(theirs, ours, strict=True))
    assert same >= 0.9 * len(ours), f"{same} of {len(ours)}: Frigate looks at the whole square, `edge` at 7/8 of it"
    assert all(0 < score <= 1 for _, score in theirs)
    assert set(as_frigate.labelmap.values()) == {label for label, _ in theirs} | set(ours), shlex.join(map(str, theirs))
