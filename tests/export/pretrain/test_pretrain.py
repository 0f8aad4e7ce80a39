"""Pretraining: repeatable to the byte, resumable, spread over processes, honest about bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch")

import torch

from edge.errors import BundleError, DatasetError
from export.adapt.processes import Processes
from export.cli.app import cli
from export.pretrain.distil import Recipe, Report, pretrain
from export.pretrain.teacher import Teacher
from export.pretrain.views import NO_LABEL, Pictures, draw
from tests.refused import refused

pytestmark = pytest.mark.converters

ALONE = Processes(0, 1, "cpu")
RECIPE = Recipe(size=32, steps=6, batch=8, rate=1e-3, seed=5)
TOGETHER = Recipe("squeezenet1_1", size=64, steps=4, batch=16)  # has no batch norm, whose statistics are of each half
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def sources() -> list[Pictures]:
    """A thousand small labelled pictures, and a few large ones without labels: two colours in noise."""
    random = np.random.default_rng(0)
    labels = np.arange(1000) % 2
    small = random.integers(0, 128, (1000, 16, 16, 3), np.uint8)
    small[labels == 1, :, :, 0] += 127
    return [Pictures(small, labels, 2), Pictures(random.integers(0, 255, (20, 64, 64, 3), np.uint8), None, 0)]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    """An untrained MobileNetV2 with its classifier."""
    from export.network.torchvision_shim import torchvision_models

    torch.manual_seed(1)
    file = tmp_path_factory.mktemp("teacher") / "teacher.pth"
    torch.save(torchvision_models().mobilenet_v2().state_dict(), file)
    return Teacher("mobilenet_v2", file, "cpu")


def learn(
    recipe: Recipe, sources: list[Pictures], teacher: Teacher | None, saved: Path, stop: int = 0, every: int = 1
) -> tuple[dict[str, torch.Tensor], list[Report]]:
    reports: list[Report] = []

    def tell(report: Report) -> None:
        reports.append(report)
        if report.step == stop:
            raise KeyboardInterrupt

    return pretrain(recipe, sources, teacher, saved, ALONE, tell, every=every), reports


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("distilled", [False, True])
def test_the_same_seed_gives_the_same_weights_also_when_killed_half_way_and_resumed(
    sources: list[Pictures], teacher: Teacher, tmp_path: Path, distilled: bool
) -> None:
    master = teacher if distilled else None
    sources = sources if distilled else sources[:1]
    whole, reports = learn(RECIPE, sources, master, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        learn(RECIPE, sources, master, tmp_path / "killed", stop=3)
    resumed, rest = learn(RECIPE, sources, master, tmp_path / "killed")
    assert [report.step for report in reports] == [1, 2, 3, 4, 5, 6]
    assert [report.loss for report in rest] == [report.loss for report in reports[3:]]
    assert same(whole, resumed)


def test_another_seed_gives_other_weights(sources: list[Pictures], tmp_path: Path) -> None:
    short = Recipe(size=32, steps=1, batch=8, seed=5)
    one, _ = learn(short, sources[:1], None, tmp_path / "one")
    other, _ = learn(Recipe(size=32, steps=1, batch=8, seed=6), sources[:1], None, tmp_path / "other")
    assert not same(one, other)


def test_a_teacher_is_followed(sources: list[Pictures], teacher: Teacher, tmp_path: Path) -> None:
    _, reports = learn(Recipe(size=32, steps=60, batch=16, seed=1), sources, teacher, tmp_path / "run", every=10)
    assert reports[-1].loss < 0.8 * reports[0].loss  # each the mean of ten steps


def test_labels_are_learned_without_a_teacher(sources: list[Pictures], tmp_path: Path) -> None:
    _, reports = learn(Recipe(size=32, steps=60, batch=16, seed=1), sources[:1], None, tmp_path / "run", every=10)
    assert reports[-1].loss < 0.6  # guessing costs ln 2 = 0.69


def test_a_checkpoint_of_another_recipe_is_refused(sources: list[Pictures], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        learn(RECIPE, sources[:1], None, tmp_path / "run", stop=1)
    with refused("run-mismatch", BundleError, "another run"):
        learn(Recipe(size=32, steps=7, batch=8, rate=1e-3, seed=5), sources[:1], None, tmp_path / "run")


def test_a_rate_that_is_too_large_is_named_with_what_is_in_the_way_of_a_lower_one(
    sources: list[Pictures], tmp_path: Path
) -> None:
    with refused("training-diverged", BundleError, "1e+10", tmp_path / "run"):
        learn(replace(RECIPE, rate=1e10), sources[:1], None, tmp_path / "run")
    with refused("training-diverged", BundleError, "1e+10") as told:
        learn(replace(RECIPE, rate=1e10), sources[:1], None, tmp_path / "none", every=RECIPE.steps)
    assert "none" not in str(told.value), "there is no checkpoint yet"


def test_views_come_from_every_source_and_mosaics_have_no_label(sources: list[Pictures]) -> None:
    batch = draw([*sources, sources[0]], 30, 32, torch.Generator().manual_seed(0))
    labels = batch.labels.numpy()
    assert batch.pixels.shape == (30, 3, 32, 32)
    assert (labels == NO_LABEL).sum() == 10 + 5 + 5  # of the second source all, of the small ones every other
    assert set(labels[labels != NO_LABEL]) == {0, 1, 2, 3}


def test_views_show_what_is_in_the_picture_mirrored_or_not() -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 64, dtype=np.uint8)[:, None], (1, 64, 64, 3))  # left dark, right bright
    views = draw([Pictures(ramp, None, 0)], 200, 16, torch.Generator().manual_seed(0)).pixels[:, 1]
    slopes = (views[:, :, -1] - views[:, :, 0]).mean(1)
    assert 60 < (slopes > 0).sum() < 140
    assert slopes.abs().min() > 0.05
    assert (views[:, 0] - views[:, -1]).abs().max() < 1e-5


def test_a_part_of_a_batch_is_these_rows_of_the_whole(sources: list[Pictures]) -> None:
    def drawn(part: slice) -> torch.Tensor:
        return draw(sources, 10, 32, torch.Generator().manual_seed(3), part=part).pixels

    whole = drawn(slice(None))
    assert torch.equal(torch.cat([drawn(slice(0, 1)), drawn(slice(1, 6)), drawn(slice(6, 10))]), whole)


def test_a_packed_array_of_images_alone_stays_on_the_disk(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (7, 40, 40, 3), np.uint8)
    np.save(tmp_path / "packed.npy", images)
    read = Pictures.read(tmp_path / "packed.npy")
    assert isinstance(read.images, np.memmap)
    assert (read.labels, read.classes) == (None, 0)
    assert np.array_equal(read.images, images)


def test_class_folders_are_read_at_the_size_most_of_them_have(tmp_path: Path) -> None:
    from PIL import Image

    for label, side in (("a", 40), ("a", 48), ("b", 48)):
        (tmp_path / label).mkdir(exist_ok=True)
        Image.new("RGB", (side, side + 9), (side, 0, 99 * (label == "b"))).save(tmp_path / label / f"{side}.png")
    (tmp_path / "b" / "broken.jpg").write_bytes(b"no picture")
    read = Pictures.read(tmp_path)
    assert read.images.shape == (3, 48, 48, 3)
    assert read.labels is not None
    assert (read.labels.tolist(), read.classes) == ([0, 0, 1], 2)


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"pixels": np.zeros(3)}, "neither a folder"),
        ({"images": np.zeros((2, 8, 9, 3), np.uint8)}, "expected uint8 (N, S, S, 3)"),
        ({"images": np.zeros((2, 8, 8, 3), np.float32)}, "expected uint8 (N, S, S, 3)"),
        ({"images": np.zeros((2, 8, 8, 3), np.uint8), "labels": np.zeros(3, int)}, "give one"),
    ],
)
def test_a_packed_array_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, arrays: dict[str, np.ndarray], problem: str
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DatasetError) as error:
        Pictures.read(tmp_path / "data.npz")
    assert problem in str(error.value)


def test_without_labels_or_teacher_there_is_nothing_to_learn(sources: list[Pictures], tmp_path: Path) -> None:
    for some in (sources[1:], sources):
        with refused("teacher-unsuitable", BundleError, "--teacher"):
            learn(RECIPE, some, None, tmp_path / "run")


def test_the_weights_that_are_written_make_a_backbone(sources: list[Pictures], tmp_path: Path) -> None:
    from export.network import backbones

    np.savez(tmp_path / "small.npz", images=sources[0].images, labels=sources[0].labels)
    output = tmp_path / "w.safetensors"
    arguments = ["pretrain", str(tmp_path / "small.npz"), "-o", str(output), "--size", "32", "--steps", "2"]
    result = CliRunner().invoke(cli, [*arguments, "--batch", "8", "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)["bytes"] < 2.5e6
    assert [json.loads(line)["step"] for line in Path(f"{output}.log").read_text().splitlines()] == [2]
    embedder = backbones.load("mobilenet_v3_small", str(output)).embedder
    assert embedder(torch.zeros(1, 64, 64, 3, dtype=torch.uint8)).shape == (1, 576)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.npz", "w.safetensors", "w.safetensors.log"]


def test_two_processes_learn_the_same_from_one_batch_each_its_half(sources: list[Pictures], tmp_path: Path) -> None:
    np.savez(tmp_path / "small.npz", images=sources[0].images, labels=sources[0].labels)
    program = f"""
from pathlib import Path
import torch
from export.pretrain.views import Pictures
from export.network.state_dict import save_weights
from export.pretrain.distil import Recipe, pretrain
from export.adapt.processes import join_processes
torch.set_num_threads(1)
with join_processes() as here:
    assert here.world == 2
    sources = [Pictures.read(Path({str(tmp_path / "small.npz")!r}))]
    weights = pretrain({TOGETHER!r}, sources, None, Path({str(tmp_path)!r}, f"run{{here.rank}}"),
                       here, lambda report: None)
    save_weights(Path({str(tmp_path)!r}) / f"{{here.rank}}.safetensors", weights)
"""
    (tmp_path / "train.py").write_text(program)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ran = subprocess.run(
        [*command, str(tmp_path / "train.py")], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    from safetensors.torch import load_file

    one, two = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))
    learned = [key for key in one if one[key].dtype == torch.float16]
    assert all(torch.equal(one[key], two[key]) for key in learned)
    alone, _ = learn(TOGETHER, [Pictures.read(tmp_path / "small.npz")], None, tmp_path / "x")
    moved = [float((one[key].float() - alone[key].float()).norm() / alone[key].norm().clamp(min=1)) for key in learned]
    assert max(moved) < 1e-3
