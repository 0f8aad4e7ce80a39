"""From a folder of photos to a network that sees what tells them apart: the whole of `edge-export adapt`.

In order: decode the photos; hold some of each class out; embed all with the pretrained network and fit the device's
head: that is the strategy `head`, and what every other has to beat. Then the others, from cheap to dear, each measured
in the same way: the device's head, fitted to the embeddings of the photos not held out, asked about those that are.
`auto` keeps the best of them; one that is dearer must name more of the held-out photos rightly than luck would once in
a hundred times (`export.material.clearly_better`), and be surer of the truth.

`taps` trains nothing, so it is judged by the photos that are not held out, each named with itself and its group left
out: they are more, so smaller gains can be told from luck, and what is held out stays untouched. It must be surer of
their labels by three standard errors (`clearly_surer`), and `auto` does not try it on fewer than `ENOUGH` photos of a
label: ten from one place are named by the place as well. The strategies that train have each a share of the time left
and begin with the embedding that was better, with or without taps. The kept network is exported and measured once more
as the device runs it: the figure that is promised. A run that was killed goes on where it was when the same command is
given again.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import edge
from edge.errors import BundleError
from edge.evaluate import Evaluation, evaluate
from edge.files import replacing
from edge.terminal import percent
from export import adapted, backbones, checkpoint, strategies
from export.adapted import Adaptation
from export.augment import Augment
from export.backbones import Loaded
from export.baselines import Baselines, measure_baselines
from export.build import Watcher
from export.dataset import find_photos
from export.frozen import embed_pixels, freeze
from export.material import (
    BATCH,
    ENOUGH,
    Material,
    Measured,
    clearly_better,
    clearly_surer,
    embed_rows,
    fast_inference,
    measure,
    read_material,
)
from export.split import split_groups
from export.spread import Spread
from export.strategies import STRATEGIES, Strategy
from export.taps import every_third, settle
from export.train import Point, Task, Trained, train

if TYPE_CHECKING:
    import torch
    from torch import nn

WORK = ".work"  # in the output folder, until it is finished
HOLD_OUT = 0.2
CHANCE = 0.01  # of keeping what is no better: three strategies have a dozen measurements each to try their luck
RESERVE = 1.3  # of what the first embedding took: kept back for the last one and the report
TAPPING = 2.5  # times what the first embedding took: for settling the taps, and embedding with them
NO_TIME = "there was no time left for it"


@dataclass(frozen=True)
class Plan:
    """What to adapt.

    Args:
        photos: Folder of class folders.
        output: Folder to write; made if there is none.
        created: ISO 8601, UTC.
        backbone, weights: As `export.backbones.load` takes them.
        size: Pixels per side of the network's input; 0 for its own.
        strategy: `auto`, or a name of `export.strategies`.
        minutes: For everything, over all runs.
        seed: Of the split, of the pictures drawn, and of their order.
        group_by: As `export.split.group_photos` takes it.
        flip: Whether mirror images may be trained on.
        progress: Show torchvision's download bar.
    """

    photos: Path
    output: Path
    created: str
    backbone: str = "embedded"
    weights: str = ""
    size: int = 0
    strategy: str = "auto"
    minutes: float = 20.0
    seed: int = 0
    group_by: str | None = None
    flip: bool = True
    progress: bool = False


@dataclass(frozen=True)
class Outcome:
    """What one strategy came to.

    Args:
        strategy: It.
        measured: On the held-out photos; None if there was no time for it.
        seconds: It took.
        bytes: Of the network's parameters that it changed, as float32.
        curve: Its measurements on the way.
        note: How it ended, in words.
    """

    strategy: Strategy
    measured: Measured | None
    seconds: float
    bytes: int
    curve: tuple[Point, ...]
    note: str


@dataclass(frozen=True)
class Adapted:
    """What was adapted: for the terminal and the report.

    Args:
        adaptation: What adapted.json says.
        folder: Where it lies.
        material, held: The photos, and bool (N,) those held out.
        outcomes: Of every strategy, the cheap first.
        kept: The strategy kept, and
        why: the reason, in words.
        final: The kept one, measured as the device runs it, and
        evaluation: what there is to say about that.
        baselines: What knowing nothing is worth.
        seconds: All of it took, this run.
    """

    adaptation: Adaptation
    folder: Path
    material: Material
    held: NDArray[np.bool_]
    outcomes: tuple[Outcome, ...]
    kept: str
    why: str
    final: Measured
    evaluation: Evaluation
    baselines: Baselines
    seconds: float


@dataclass
class _Work:
    """What the strategies of one run have in common: `loaded` and `probe` are of the better embedding so far."""

    plan: Plan
    watcher: Watcher
    spread: Spread
    clock: Callable[[], float]
    loaded: Loaded
    material: Material
    held: NDArray[np.bool_]
    probe: Measured = field(init=False)
    folder: Path = field(init=False)  # of the checkpoints
    states: dict[str, Mapping[str, torch.Tensor]] = field(default_factory=dict)  # what each strategy came to


def adapt(plan: Plan, watcher: Watcher, spread: Spread, clock: Callable[[], float] = time.monotonic) -> Adapted:
    """Adapt a network to photos.

    Args:
        plan: What.
        watcher: Told how it gets on.
        spread: This process among all; only the first writes files.
        clock: Seconds, from anywhere.

    Raises:
        DatasetError: The folder of photos cannot be used, or a class is too small to hold some of it out.
        BundleError: The weights do not fit, or the output folder cannot be used.
    """
    began = clock()
    wanted = list(STRATEGIES.values()) if plan.strategy == "auto" else [strategies.find(plan.strategy)]
    _check_output(plan.output)
    loaded = backbones.load(plan.backbone, plan.weights, plan.progress)
    loaded = replace(loaded, backbone=replace(loaded.backbone, size=plan.size or loaded.backbone.size))
    taps = () if loaded.backbone.taps else every_third(loaded.trunk)
    if plan.strategy == "taps" and not taps:
        reason = "joins earlier maps already" if loaded.backbone.taps else "has too few blocks"
        raise BundleError(f"the embedding of {plan.backbone} {reason}; take another --strategy")
    watcher.doing("reading photos")
    material = read_material(find_photos(plan.photos), loaded.backbone.size, watcher.step, plan.group_by)
    held = split_groups(material.targets, material.groups, material.labels, HOLD_OUT, plan.seed)
    watcher.said(f"{len(held)} photos of {len(material.labels)} labels, {held.sum()} of them held out")

    work = _Work(plan, watcher, spread, clock, loaded, material, held)
    before = clock()
    pretrained = _embed(work, loaded.embedder)
    work.probe = measure(pretrained, material, held)
    embedding = clock() - before
    reserve = RESERVE * embedding
    outcomes = [Outcome(STRATEGIES["head"], work.probe, clock() - began, 0, (), "nothing to train")]
    watcher.said(f"head: {_figure(work.probe)}")
    watcher.doing("comparing with an untrained network")
    baselines = measure_baselines(plan.backbone, material, pretrained, plan.seed)
    if baselines.warning:
        watcher.said(f"warning: {baselines.warning}")
    if taps and STRATEGIES["taps"] in wanted:
        if plan.strategy == "auto" and np.bincount(material.targets).min() < ENOUGH:
            reason = f"a label has fewer than {ENOUGH} photos: they might all be of one place or person"
            watcher.said(f"taps: not tried, {reason}")
        else:
            left = 60 * plan.minutes - reserve - (clock() - began)
            outcomes.append(_tap(work, taps, outcomes[0], spread.first_says(left) > TAPPING * embedding))

    work.folder = _open_work(plan, work.loaded, material, spread)
    training = [strategy for strategy in wanted if strategy.trains]
    earlier = {strategy.name: _spent(work.folder, strategy) for strategy in training}
    for strategy in training:
        left = 60 * plan.minutes - reserve - sum(earlier.values()) - (clock() - began)
        share = strategy.share if plan.strategy == "auto" else 1.0
        seconds = spread.first_says(share * left + earlier[strategy.name])
        outcomes.append(_try(work, strategy, seconds))
    kept, why = choose(outcomes, forced=plan.strategy != "auto")

    final = work.probe
    if STRATEGIES[kept].trains:
        work.loaded.embedder.get_submodule("trunk").load_state_dict(work.states[kept], strict=False)
        final = measure(_embed(work, work.loaded.embedder), material, held)
        outcomes = [replace(one, measured=final) if one.strategy.name == kept else one for one in outcomes]
    result = _result(work, outcomes, kept, why, final, baselines, clock() - began)
    if spread.is_first:
        _write(result, work.loaded.embedder)
        shutil.rmtree(work.folder)
    spread.barrier()
    return result


def choose(outcomes: list[Outcome], forced: bool = False) -> tuple[str, str]:
    """Decide which strategy to keep, and say why.

    Args:
        outcomes: The cheap first; the first one is `head`.
        forced: Keep the last one, which was asked for, whatever it is worth.
    """
    best = outcomes[0]
    measured = [outcome for outcome in outcomes if outcome.measured is not None]
    for outcome in measured[1:]:
        if _beats(outcome, best):
            best = outcome
    head, total = measured[0], len(measured[0].measured.right)  # type: ignore[union-attr]
    if forced and len(outcomes) > 1:
        asked = outcomes[-1]
        if asked.measured is None:
            return "head", f"{asked.strategy.name} was asked for, but {asked.note}; nothing was changed"
        gain = _right(asked) - _right(head)
        warn = "" if gain > 0 else "; it names no more photos rightly than the last layer alone: take --strategy head"
        return asked.strategy.name, f"it was asked for: {gain:+d} of {total} held-out photos against head{warn}"
    gain = _right(best) - _right(head)
    if best is head:
        if len(measured) == 1:
            return "head", "there was no time for another" if outcomes[1:] else "nothing else was asked for"
        return "head", "no other strategy named more photos rightly than chance explains"
    if not best.strategy.trains:
        one, other = best.measured.left_out, head.measured.left_out  # type: ignore[union-attr]
        return best.strategy.name, (
            f"of the {len(one)} photos not held out, each named by a head that was not taught it, {one.sum()} are "
            f"right instead of {other.sum()}, and more surely; of the {total} held out {gain:+d}"
        )
    return best.strategy.name, f"it names {gain} more of the {total} held-out photos rightly than the last layer alone"


def _beats(dear: Outcome, cheap: Outcome) -> bool:
    """Whether the dearer one is better by more than chance explains."""
    if dear.measured is None or cheap.measured is None:
        return False
    one, other = dear.measured, cheap.measured
    if not dear.strategy.trains:
        return clearly_surer(one.surprise, other.surprise)
    return clearly_better(one.right, other.right, CHANCE) and one.loss < other.loss


def _right(outcome: Outcome) -> int:
    return 0 if outcome.measured is None else int(outcome.measured.right.sum())


# --- one strategy ----------------------------------------------------------------------------------------------------


def _tap(work: _Work, taps: tuple[int, ...], head: Outcome, in_time: bool) -> Outcome:
    """Join earlier maps to the embedding; where that is better, or was asked for, go on with it."""
    strategy, began, material, row = STRATEGIES["taps"], work.clock(), work.material, work.loaded.backbone
    if not in_time:
        return Outcome(strategy, None, 0.0, 0, (), NO_TIME)
    work.watcher.doing("taps: settling how earlier maps are joined")
    network, others = backbones.embedder(work.loaded.trunk, taps), np.flatnonzero(~work.held)

    def batches() -> Iterator[NDArray[np.uint8]]:
        for at in range(0, len(others), BATCH):
            work.watcher.step(at, len(others))
            yield material.centres[others[at : at + BATCH]]

    features = settle(network, batches()).shape[1]
    measured = measure(_embed(work, network), material, work.held)
    now, before = (percent(float(one.left_out.mean())) for one in (measured, work.probe))
    note = (
        f"maps of blocks {', '.join(map(str, taps))}: {features:,} numbers instead of {row.embedding:,}; of the photos "
        f"not held out, each left out, {now} are named rightly instead of {before}"
    )
    outcome = Outcome(strategy, measured, work.clock() - began, 0, (), note)
    work.watcher.said(f"taps: {_figure(measured)}")
    if work.plan.strategy == "taps" or _beats(outcome, head):
        work.loaded = replace(work.loaded, backbone=replace(row, taps=taps, embedding=features), embedder=network)
        work.probe = measured
    return outcome


def _try(work: _Work, strategy: Strategy, seconds: float) -> Outcome:
    """Train by one strategy within some seconds, over all runs, and measure what it came to."""
    material = work.material
    trunk = copy.deepcopy(work.loaded.embedder.get_submodule("trunk"))
    size = 4 * sum(parameter.numel() for parameter in strategies.unfreeze(trunk, strategy, material.size).values())
    path = _checkpoint(work.folder, strategy)
    note = NO_TIME
    if seconds > 1 or path.exists():
        work.watcher.doing(f"{strategy.name}: training {strategy.summary}")
        augment = Augment(work.plan.seed, flip=work.plan.flip)
        step = work.watcher.step
        task = Task(material, work.held, work.probe, augment, seconds, path, work.spread, step, work.clock)
        trained = train(work.loaded.embedder, strategy, task)
        if len(trained.curve) > 1:
            work.states[strategy.name] = trained.state
            measured = _measure(work, trained)
            work.watcher.said(f"{strategy.name}: {_figure(measured)}, {trained.seconds:.0f} s")
            return Outcome(strategy, measured, trained.seconds, size, trained.curve, _note(trained))
        note = f"two passes over the photos take longer than the {seconds:.0f} s that it had"
    work.watcher.said(f"{strategy.name}: {note}")
    return Outcome(strategy, None, 0.0, size, (), note)


def _embed(work: _Work, embedder: nn.Module) -> NDArray[np.float32]:
    """Embed all photos as the device would."""
    work.watcher.doing("embedding photos as the device does")
    return embed_pixels(freeze(embedder, work.material.size), work.material.centres, work.watcher.step)


def _measure(work: _Work, trained: Trained) -> Measured:
    """Measure what was kept of a training."""
    import torch

    material, device = work.material, work.spread.device
    network = copy.deepcopy(work.loaded.embedder).to(device)
    network.get_submodule("trunk").load_state_dict(trained.state, strict=False)
    with fast_inference(device):
        every = np.arange(len(work.held))
        embeddings = embed_rows(network, lambda rows: torch.from_numpy(material.centres[rows]).to(device), every)
    return measure(embeddings, material, work.held)


def _note(trained: Trained) -> str:
    mixed = (
        "" if trained.mix == 1 else f", mixed {100 * trained.mix:.0f} : {100 - 100 * trained.mix:.0f} with pretrained"
    )
    best = min(trained.curve, key=lambda point: point.loss)
    return f"{trained.epochs} of {trained.planned or '?'} passes, {trained.ended}; best after {best.epoch}{mixed}"


def _figure(measured: Measured) -> str:
    right, total = int(measured.right.sum()), len(measured.right)
    return f"{100 * measured.accuracy:.1f} % of the held-out photos named rightly ({right} of {total})"


# --- files -----------------------------------------------------------------------------------------------------------


def _check_output(folder: Path) -> None:
    """Refuse before the work a folder that could not be written, or that holds something else."""
    if folder.exists() and not folder.is_dir():
        raise BundleError(f"{folder} is a file; name a folder to write, for example adapted")
    if not folder.parent.is_dir():
        raise BundleError(f"folder {folder.parent} does not exist; make it first")
    place = folder if folder.is_dir() else folder.parent
    if not os.access(place, os.W_OK):
        raise BundleError(f"folder {place} cannot be written; name another path")
    ours = {adapted.JSON, adapted.WEIGHTS, adapted.REPORT, WORK}
    if folder.is_dir():
        foreign = sorted(path.name for path in folder.iterdir() if path.name not in ours and path.name[0] != ".")
        if foreign:
            raise BundleError(f"{folder} holds other files ({foreign[0]}); name a folder of its own")


def _open_work(plan: Plan, loaded: Loaded, material: Material, spread: Spread) -> Path:
    """The folder of checkpoints: those of the same run are kept, those of another are thrown away."""
    digest = hashlib.sha256()
    for key, tensor in sorted(loaded.embedder.state_dict().items()):
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    for value in (*material.hashes, material.size, plan.seed, plan.group_by, plan.flip, edge.__version__):
        digest.update(f" {value}".encode())
    folder, key = plan.output / WORK, json.dumps({"run": digest.hexdigest()})
    if spread.is_first:
        mark = folder / "run.json"
        if not mark.is_file() or mark.read_text() != key:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            mark.write_text(key)
    spread.barrier()
    return folder


def _checkpoint(folder: Path, strategy: Strategy) -> Path:
    return folder / f"{strategy.name}.pt"


def _spent(folder: Path, strategy: Strategy) -> float:
    """Seconds that earlier runs spent on a strategy."""
    state = checkpoint.load(_checkpoint(folder, strategy))
    return float(state["progress"]["seconds"]) if state else 0.0


def _result(
    work: _Work, outcomes: list[Outcome], kept: str, why: str, final: Measured, baselines: Baselines, seconds: float
) -> Adapted:
    """All that was found, for people, and as adapted.json says it."""
    plan, material, held = work.plan, work.material, work.held
    truth = [name for name, out in zip(material.names, held, strict=True) if out]
    evaluation = evaluate(final.probabilities, truth, material.labels, held_out=True)
    hashes = np.array(material.hashes)
    report = {
        "why": why,
        "seed": plan.seed,
        "labels": list(material.labels),
        "confusion": evaluation.confusion.tolist(),
        "baselines": asdict(baselines),
        "strategies": [
            {
                "name": outcome.strategy.name,
                "accuracy": outcome.measured and outcome.measured.accuracy,
                "loss": outcome.measured and outcome.measured.loss,
                "seconds": round(outcome.seconds, 1),
                "bytes_changed": outcome.bytes,
                "note": outcome.note,
                "curve": [asdict(point) for point in outcome.curve[1:]],
            }
            for outcome in outcomes
        ],
    }
    adaptation = Adaptation(
        created=plan.created,
        program=f"edge-transfer {edge.__version__}",
        photos=str(plan.photos.absolute()),
        backbone=plan.backbone,
        size=material.size,
        taps=work.loaded.backbone.taps,
        origin=work.loaded.origin,
        licence=work.loaded.licence,
        strategy=kept,
        accuracy=evaluation.accuracy,
        low=evaluation.interval[0],
        high=evaluation.interval[1],
        trained=tuple(hashes[~held].tolist()) if STRATEGIES[kept].trains else (),
        held_out=tuple(hashes[held].tolist()),
        report=report,
    )
    return Adapted(
        adaptation, plan.output, material, held, tuple(outcomes), kept, why, final, evaluation, baselines, seconds
    )


def _write(result: Adapted, embedder: nn.Module) -> None:
    """Weights and report first, adapted.json last: with it the folder is complete."""
    from safetensors.torch import save_file

    from export.report import report

    folder = result.folder
    with replacing(folder / adapted.WEIGHTS) as partial:
        save_file({name: tensor.contiguous() for name, tensor in backbones.state(embedder).items()}, partial)
    with replacing(folder / adapted.REPORT) as partial:
        partial.write_text(report(result), encoding="utf-8")
    adapted.write(folder, result.adaptation)
