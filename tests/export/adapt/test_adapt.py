"""Adapting keeps what pays, never more; goes on where it was killed; and marks what it was trained on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import BundleError, DatasetError
from edge.learner import Learner
from export.adapt.outcome import Adapted, Outcome, choose
from export.adapt.processes import Processes
from export.adapt.run import Plan, adapt
from export.adapt.strategies import STRATEGIES
from export.bundle import adapted, build
from export.bundle.plan import Built
from export.bundle.plan import Plan as BuildPlan
from export.compare.material import Measured
from tests.export.adapting import enter_tiny, striped_photos, tiny_trunk, tiny_weights
from tests.export.conftest import Listener
from tests.refused import refused

pytestmark = [pytest.mark.converters, pytest.mark.usefixtures("exported_once")]

CREATED = "2026-01-01T00:00:00+00:00"
ALONE = Processes(0, 1, "cpu")
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def tiny_table(monkeypatch: pytest.MonkeyPatch) -> None:
    enter_tiny(monkeypatch)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    photos, weights = striped_photos(tmp_path / "photos"), tiny_weights(tmp_path / "tiny.pth")
    return Plan(photos, tmp_path / "adapted", CREATED, "tiny", str(weights), strategy="full", flip=False)


@pytest.fixture(scope="module")
def auto(tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    """All strategies, once, on photos where there is something to learn."""
    folder = tmp_path_factory.mktemp("auto")
    weights = str(tiny_weights(folder / "tiny.pth"))
    with pytest.MonkeyPatch.context() as patch:
        enter_tiny(patch)
        photos = striped_photos(folder / "photos", 100)
        plan = Plan(photos, folder / "adapted", CREATED, "tiny", weights, flip=False)
        return run(plan)


@pytest.fixture(scope="module")
def bundled(auto: Adapted) -> Built:
    """The bundle of that."""
    with pytest.MonkeyPatch.context() as patch:
        enter_tiny(patch)
        output, photos = auto.folder.with_suffix(".edge"), Path(auto.adaptation.photos)
        plan = BuildPlan(photos, output, CREATED, adapted=auto.folder, runtimes=("onnx",), precisions=("fp32",))
        return build.build(plan, Listener())


class Killed(Exception):
    """What a run of the tests dies of."""


class Killer(Listener):
    """A listener that ends the run after so many batches."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after

    def step(self, done: int, total: int) -> None:
        if self.stages[-1].startswith("full"):
            self._left -= 1
            if not self._left:
                raise Killed


def stopped_clock() -> float:
    return 0.0


def run(plan: Plan, listener: Any = None) -> Adapted:
    return adapt(plan, listener or Listener(), ALONE, stopped_clock)


def weights(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return dict(load_file(folder / adapted.WEIGHTS))


def test_killed_at_any_point_and_run_again_it_ends_with_the_same_bytes(plan: Plan, tmp_path: Path) -> None:
    run(plan)
    whole = (plan.output / adapted.WEIGHTS).read_bytes()
    trained = weights(plan.output)
    assert any((trained[name] != tensor.numpy()).any() for name, tensor in tiny_start().items() if name in trained)
    for after in (1, 6):
        again = replace(plan, output=tmp_path / f"killed{after}")
        with pytest.raises(Killed):
            run(again, Killer(after))
        assert not (again.output / adapted.JSON).exists()
        run(again)
        assert (again.output / adapted.WEIGHTS).read_bytes() == whole
        assert sorted(path.name for path in again.output.iterdir()) == sorted(
            [adapted.JSON, adapted.REPORT, adapted.WEIGHTS]
        )


@pytest.mark.parametrize("name", ["last-stages", "full"])
def test_a_strategy_changes_what_it_says_and_nothing_else(plan: Plan, name: str) -> None:
    import torch

    before = torch.load(plan.weights, weights_only=True)
    run(replace(plan, strategy=name))
    after = weights(plan.output)
    changed = {key for key in after if (after[key] != before[key].numpy()).any()}
    allowed = {
        "last-stages": {"1.0.weight", "1.0.bias", "2.0.weight", "2.0.bias", "2.1.weight", "2.1.bias"},
        "full": {key for key in before if "running" not in key and "tracked" not in key},
    }[name]
    assert changed == allowed


def test_training_beats_random_features_where_there_is_something_to_learn(auto: Adapted) -> None:
    head = auto.outcomes[0].measured
    assert head is not None
    assert auto.kept != "head"
    assert auto.evaluation.accuracy > head.accuracy
    assert [outcome.strategy.name for outcome in auto.outcomes] == ["head", "last-stages"]


def test_auto_does_not_try_taps_on_few_photos(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from export.network import taps

    monkeypatch.setattr(taps, "EVERY", 1)
    photos, listener = striped_photos(tmp_path / "few", 29), Listener()
    result = run(replace(plan, photos=photos, strategy="auto"), listener)
    assert "taps" not in [outcome.strategy.name for outcome in result.outcomes]
    assert any("fewer than 30 photos" in line for line in listener.lines)


def test_a_network_with_too_few_blocks_has_no_taps(plan: Plan) -> None:
    with refused("strategy-unsuitable", BundleError, "tiny", "--strategy"):
        run(replace(plan, strategy="taps"))


@pytest.mark.parametrize(
    ("minutes", "enough_for", "too_little_for"),
    [(0.1, "head", "taps"), (0.2, "taps", "last-stages"), (2.0, "last-stages", "")],
)
def test_time_is_kept_and_what_did_not_fit_is_said(
    plan: Plan, minutes: float, enough_for: str, too_little_for: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from export.network import taps

    monkeypatch.setattr(taps, "EVERY", 1)
    ticks = iter(range(10**9))  # a second a look at the clock: a slow machine
    plan = replace(plan, strategy="auto", minutes=minutes)
    result = adapt(plan, Listener(), ALONE, lambda: float(next(ticks)))
    assert result.seconds <= 60 * minutes + 3  # looks at the clock that no strategy takes
    tried = [outcome.strategy.name for outcome in result.outcomes if outcome.measured is not None]
    assert enough_for in tried
    assert too_little_for not in tried
    assert ("There was no time for" in (plan.output / adapted.REPORT).read_text()) == bool(too_little_for)


def outcome(name: str, right: str, loss: float = 0.5, held_loss: float | None = None) -> Outcome:
    """The same answers twice: to photos for training, and to as many that are held out."""
    answers = np.array([answer == "1" for answer in right] * 2)
    held = np.arange(len(answers)) >= len(right)
    surprise = np.where(held, loss if held_loss is None else held_loss, loss)
    return Outcome(STRATEGIES[name], told(answers, surprise, held), 1.0, 1, (), "")


def told(right: np.ndarray, surprise: np.ndarray, held: np.ndarray) -> Measured:
    return Measured(("a", "b"), np.zeros((len(right), 2), np.float32), right, surprise, held, np.arange(len(right)))


@pytest.mark.parametrize(
    ("dear", "loss", "kept"),
    [
        ("1111100000", 0.4, "head"),  # the same answers
        ("1111110000", 0.4, "head"),  # one more: luck
        ("1111100000111111", 0.4, "head"),  # six more and none lost: luck does that once in 64 times
        ("11111000001111111", 0.4, "full"),  # seven more: once in 128
        ("01111000001111111", 0.4, "head"),  # seven won, one lost: 9 times in 256
        ("11111000001111111", 0.6, "head"),  # more right, but less sure of the truth
    ],
)
def test_the_dearer_is_kept_only_where_chance_does_not_explain_it(dear: str, loss: float, kept: str) -> None:
    name, why = choose([outcome("head", "1111100000".ljust(len(dear), "0")), outcome("full", dear, loss)])
    assert name == kept
    assert why


def test_what_is_less_sure_of_the_photos_held_out_is_not_kept() -> None:
    tried = [outcome("head", "000000000"), outcome("full", "111111110", 0.3, held_loss=0.6)]
    assert choose(tried)[0] == "head"


def test_of_two_that_are_as_good_the_cheaper_is_kept() -> None:
    tried = [outcome("head", "100000000"), outcome("last-stages", "111111110", 0.3), outcome("full", "111111111", 0.1)]
    assert choose(tried)[0] == "last-stages"


def test_what_was_asked_for_is_kept_and_blamed() -> None:
    name, why = choose([outcome("head", "1111"), outcome("full", "1110", 0.9)], forced=True)
    assert name == "full"
    assert "-1 of 4" in why
    assert "use --strategy head" in why


def test_the_bundle_marks_what_was_trained_on_and_promises_the_same(auto: Adapted, bundled: Built) -> None:
    examples, manifest = bundled.bundle.examples(), bundled.bundle.manifest
    assert examples.trained_on.tolist() == [not held for held in auto.held]
    assert manifest.accuracy is not None
    assert manifest.accuracy.accuracy == pytest.approx(auto.evaluation.accuracy, abs=0.07)  # one photo: float16
    assert manifest.accuracy.photos == int(auto.held.sum())
    assert f"adapted ({auto.kept})" in manifest.backbone.weights


def test_the_device_counts_only_what_was_held_out(auto: Adapted, bundled: Built, tmp_path: Path) -> None:
    with Learner.init(tmp_path / "home", bundled.bundle.path) as learner:
        retrained = learner.retrain()
    assert retrained.factory_examples == len(auto.held)
    assert sum(map(sum, retrained.confusion)) == int(auto.held.sum())


def test_where_nothing_was_trained_nothing_is_marked(plan: Plan) -> None:
    result = run(replace(plan, strategy="head"))
    said = adapted.read(plan.output)
    assert said.trained == ()
    assert len(said.held_out) == int(result.held.sum())
    assert said.strategy == "head"


def test_with_taps_the_network_stays_and_every_photo_counts(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    from export.network import taps

    monkeypatch.setattr(taps, "EVERY", 1)  # the tiny network has three blocks
    result = run(replace(plan, strategy="taps"))
    after, said = weights(plan.output), adapted.read(plan.output)
    assert all((after[name] == tensor.numpy()).all() for name, tensor in tiny_start().items() if name in after)
    assert (said.strategy, said.taps, said.trained) == ("taps", (1,), ())
    output = plan.output.with_suffix(".edge")
    asked = BuildPlan(plan.photos, output, CREATED, adapted=plan.output, runtimes=("onnx",), precisions=("fp32",))
    bundle = build.build(asked, Listener()).bundle
    assert bundle.manifest.backbone.dimension == 16 + 2 * 8
    assert not bundle.examples().trained_on.any()
    assert bundle.manifest.accuracy is not None
    assert bundle.manifest.accuracy.accuracy == pytest.approx(result.evaluation.accuracy, abs=0.07)  # one photo


@pytest.mark.parametrize(("gain", "kept"), [(0.1, "taps"), (0.0, "head"), (-0.1, "head")])
def test_taps_are_judged_by_the_photos_that_are_not_held_out(gain: float, kept: str) -> None:
    surprise, held = np.random.default_rng(0).exponential(0.5, 54), np.arange(54) >= 50
    outcomes = []
    for name, losses in (("head", surprise), ("taps", surprise - gain * np.linspace(0.5, 1.5, 54))):
        losses = np.where(held, 0.3, losses)  # no difference there
        outcomes.append(Outcome(STRATEGIES[name], told(losses < 0.5, losses, held), 1.0, 0, (), ""))
    name, why = choose(outcomes)
    assert name == kept
    assert ("each classified without having been taught it" in why) == (kept == "taps")


def test_photos_of_a_group_are_left_out_together(tmp_path: Path) -> None:
    """Each photo twice under another name: left out alone, its twin would give it away."""
    from export.compare.material import measure, read_material
    from export.photos.folders import find_photos

    photos = striped_photos(tmp_path / "photos", 12)
    for path in sorted(photos.glob("*/*.png")):
        with path.open("ab") as file:
            path.with_stem(f"{path.stem}_2").write_bytes(path.read_bytes() + b"0")
            file.write(b"1")
        path.rename(path.with_stem(f"{path.stem}_1"))
    figures = {}
    for group_by in (None, "prefix"):
        material = read_material(find_photos(photos), 32, lambda *_: None, group_by)
        pixels = material.centres[:, ::2, ::2].reshape(len(material.paths), -1).astype(np.float32)
        held = np.arange(len(pixels)) % 24 < 2
        measured = measure(pixels, material, held)
        figures[group_by] = measured.right[~held].mean()
    assert figures[None] > figures["prefix"] + 0.2


def test_the_report_is_one_page_that_needs_nothing_else(auto: Adapted) -> None:
    page = (auto.folder / adapted.REPORT).read_text()
    assert page.count("<svg") >= 4
    for foreign in ('src="http', 'href="http', "<script", "<link"):
        assert foreign not in page
    for outcome in auto.outcomes:
        assert outcome.strategy.summary in page
    assert f"{100 * auto.evaluation.accuracy:.1f} %" in page


def test_names_cannot_write_into_the_page(tmp_path: Path) -> None:
    photos = striped_photos(tmp_path / "photos", 12)
    (photos / "left").rename(photos / "<b>left")
    plan = Plan(photos, tmp_path / "out", CREATED, "tiny", str(tiny_weights(tmp_path / "tiny.pth")), strategy="head")
    run(plan)
    assert "<b>left" not in (tmp_path / "out" / adapted.REPORT).read_text()


def test_a_folder_of_other_things_is_left_alone(plan: Plan) -> None:
    plan.output.mkdir()
    (plan.output / "diary.txt").write_text("mine")
    with refused("output-exists", BundleError, "diary.txt"):
        run(plan)
    assert (plan.output / "diary.txt").read_text() == "mine"


def test_a_strategy_that_does_not_exist_is_refused(plan: Plan) -> None:
    with refused("option-invalid", DatasetError, "'magic'", "auto, head, taps"):
        run(replace(plan, strategy="magic"))


@pytest.mark.parametrize(
    ("change", "code", "fact"),
    [
        (lambda raw: raw.pop("size"), "adapted-folder-invalid", "size"),
        (lambda raw: raw.update(size="large"), "adapted-folder-invalid", "size is 'large'"),
        (lambda raw: raw.update(format=9), "too-new", "9"),
    ],
)
def test_a_damaged_adapted_json_is_refused_by_name(
    auto: Adapted, tmp_path: Path, change: Any, code: str, fact: str
) -> None:
    raw = json.loads((auto.folder / adapted.JSON).read_text())
    change(raw)
    (tmp_path / adapted.JSON).write_text(json.dumps(raw))
    with refused(code, BundleError, adapted.JSON, fact):
        adapted.read(tmp_path)


@pytest.fixture(scope="module")
def all_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What `one` process and `two` make of the same photos, strategy by strategy."""
    folder = tmp_path_factory.mktemp("processes")
    photos = striped_photos(folder / "photos")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    several = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, command in (("one", [sys.executable]), ("two", several)):
        (folder / name).mkdir()
        worker = [str(Path(__file__).parents[1] / "processes_worker.py"), str(photos), str(folder / name)]
        done = subprocess.run([*command, *worker], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return {name: folder / name for name in ("one", "two")}


@pytest.mark.parametrize("strategy", ["full", "last-stages"])
def test_two_processes_train_as_one_does(all_runs: dict[str, Path], strategy: str) -> None:
    import torch

    found = {name: torch.load(folder / f"{strategy}.pt", weights_only=True) for name, folder in all_runs.items()}
    assert (found["one"]["world"], found["two"]["world"]) == (1, 2)
    assert found["one"]["epochs"] == found["two"]["epochs"] > 2
    start = tiny_start()
    for name, tensor in found["one"]["state"].items():
        torch.testing.assert_close(found["two"]["state"][name], tensor, rtol=1e-2, atol=2e-4)
        assert not torch.equal(tensor, start[name])


def tiny_start() -> dict[str, Any]:
    import torch

    torch.manual_seed(0)
    return dict(tiny_trunk().state_dict())  # type: ignore[attr-defined]


def test_a_channel_moves_in_proportion_to_its_size() -> None:
    """As norms folded into weights leave them: one channel is a hundred times the other."""
    import torch

    from export.adapt.train import _scale

    weight = torch.tensor([[3.0, -4.0], [0.03, 0.04]])
    torch.testing.assert_close(_scale(weight), torch.tensor([[12.5**0.5], [12.5**0.5 / 100]]))
    assert float(_scale(torch.zeros(5))) > 0  # a bias of zeros must be able to leave zero
    assert float(_scale(torch.tensor([[1.0], [0.0]]))[1]) > 0


@pytest.mark.parametrize("taps", [(), (0, 1), (0, 2)])
def test_from_what_is_kept_of_the_frozen_part_the_rest_gives_the_same_embedding(
    tmp_path: Path, taps: tuple[int, ...]
) -> None:
    import torch

    from export.adapt.feed import Maps, Pixels
    from export.adapt.strategies import last_stages
    from export.adapt.train import _Rest
    from export.compare.material import read_material
    from export.network.embedder import embedder
    from export.photos.augment import Augment
    from export.photos.folders import find_photos

    material = read_material(find_photos(striped_photos(tmp_path / "photos", 4)), 32, lambda *_: None)
    torch.manual_seed(0)
    network = embedder(tiny_trunk(), taps)  # type: ignore[arg-type]
    with torch.no_grad():
        expected = network(torch.from_numpy(material.centres))
    held = np.arange(len(expected)) % 2 == 0
    maps = Maps(Pixels(material, Augment(0), 32, "cpu"), ~held, network, Processes(0, 1, "cpu"))
    maps.prepare(0)
    with torch.no_grad():
        found = _Rest(network, last_stages(network.get_submodule("trunk"), 32))(maps.seen(np.array([5, 0, 3])))
    torch.testing.assert_close(found, expected[[5, 0, 3]], rtol=1e-2, atol=1e-3)
    one, other = np.flatnonzero(~held)[:2], np.flatnonzero(~held)[2:4]
    alone, mixed = (maps.mixed(one, other, share, 0) for share in (1.0, 0.75))
    torch.testing.assert_close(mixed.maps, 0.75 * alone.maps + 0.25 * maps.mixed(other, one, 1.0, 0).maps)
