"""From a folder of photos to a network that sees what tells them apart: the whole of `edge-export adapt`.

In order: decode the photos; hold some of each class out; embed all with the pretrained network and fit the device's
head: that is the strategy `head`, and what every other has to beat. Then the others, from cheap to dear, each measured
in the same way, as the device does: its head, fitted to the embeddings of all photos, asked about each one held out as
if that had not been taught.
Which one is kept, export/adapt/outcome.py says.

`taps` trains nothing. `auto` does not try it on fewer than `ENOUGH` photos of a label: ten from one place are named by
the place as well. The strategies that train have each a share of the time left and begin with the embedding that was
better, with or without taps. The kept network is exported and measured once more as the device runs it: the figure that
is promised. A run that was killed goes on where it was when the same command is given again.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import edge
from edge.errors import BundleError, DatasetError
from edge.files import replacing
from edge.head.linear import Head
from edge.metrics.evaluate import evaluate
from edge.text import percent
from export.adapt import strategies
from export.adapt.outcome import Adapted, Outcome, beats, choose
from export.adapt.processes import Processes
from export.adapt.resume import Unfinished, check_output
from export.adapt.strategies import STRATEGIES, Strategy
from export.adapt.train import Task, Trained, train
from export.bundle import adapted
from export.bundle.adapted import Adaptation
from export.bundle.plan import Listener
from export.compare.baselines import Baselines, measure_baselines
from export.compare.material import (
    BATCH,
    ENOUGH,
    Material,
    Measured,
    embed_rows,
    fast_inference,
    fit_head,
    measure,
    read_material,
)
from export.convert.frozen import embed_pixels, freeze
from export.network import backbones
from export.network.backbones import Loaded
from export.network.embedder import blocks, embedder, state
from export.network.form import fingerprint, short_side
from export.network.taps import every_third, settle
from export.photos.augment import Augment
from export.photos.bursts import Bursts, find_bursts
from export.photos.cut_off import cut_off, warning
from export.photos.folders import find_photos
from export.photos.split import split_groups

if TYPE_CHECKING:
    import torch
    from torch import nn

HOLD_OUT = 0.2
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
        backbone, weights: As `export.network.backbones.load` takes them.
        size: Pixels per side of the network's input; 0 for its own.
        strategy: `auto`, or a name of `export.adapt.strategies`.
        minutes: Time limit for everything, over all runs.
        seed: Random seed for the split, the augmentation and the order of photos.
        group_by: As `export.photos.split.group_photos` takes it.
        flip: Whether mirror images may be trained on.
        fit: How photos are made square: a name of `edge.bundle.manifest.FITS`.
        progress: Show a progress bar for downloads.
    """

    photos: Path
    output: Path
    created: str
    backbone: str = backbones.DEFAULT
    weights: str = ""
    size: int = 0
    strategy: str = "auto"
    minutes: float = 20.0
    seed: int = 0
    group_by: str | None = None
    flip: bool = True
    fit: str = "crop"
    progress: bool = False


@dataclass
class _Work:
    """What the strategies of one run have in common: `loaded` and `before` are of the better embedding so far."""

    plan: Plan
    listener: Listener
    processes: Processes
    clock: Callable[[], float]
    loaded: Loaded
    material: Material
    held: NDArray[np.bool_]
    before: Measured = field(init=False)
    head: Head = field(init=False)
    bursts: Bursts = field(init=False)
    unfinished: Unfinished = field(init=False)
    states: dict[str, Mapping[str, torch.Tensor]] = field(default_factory=dict)  # what each strategy came to


def adapt(plan: Plan, listener: Listener, processes: Processes, clock: Callable[[], float] = time.monotonic) -> Adapted:
    """Adapt a network to photos.

    Args:
        plan: What.
        listener: Reports progress.
        processes: This process among all; only the first writes files.
        clock: Seconds, from anywhere.

    Raises:
        DatasetError: The folder of photos cannot be used, or a class is too small to hold some of it out.
        BundleError: The weights do not fit, or the output folder cannot be used.
    """
    began = clock()
    wanted = list(STRATEGIES.values()) if plan.strategy == "auto" else [strategies.find(plan.strategy)]
    check_output(plan.output)
    loaded = backbones.load(plan.backbone, plan.weights, plan.progress)
    loaded = replace(loaded, backbone=replace(loaded.backbone, size=plan.size or loaded.backbone.size))
    taps = () if loaded.backbone.taps else every_third(loaded.trunk)
    if plan.strategy == "taps" and not taps:
        reason = "joins earlier maps already" if loaded.backbone.taps else "has too few blocks"
        raise BundleError(
            "strategy-unsuitable", f"the embedding of {plan.backbone} {reason}; choose another --strategy"
        )
    if len(blocks(loaded.trunk)) == 1 and STRATEGIES["last-stage"] in wanted:
        if plan.strategy != "auto":
            raise BundleError(
                "strategy-unsuitable",
                f"the parts of {plan.backbone} do not follow one another, so that none of them is the last "
                "stage; take another --strategy",
            )
        wanted.remove(STRATEGIES["last-stage"])
        listener.said(f"last-stage: not tried, because the parts of {plan.backbone} are not in sequence")
    listener.doing("reading photos")
    photos = find_photos(plan.photos)
    size = loaded.backbone.size
    if line := warning(cut_off(photos.paths, size, short_side(size, loaded.backbone.crop), plan.fit)):
        listener.said(f"warning: {line}")
    material = read_material(photos, size, listener.step, plan.group_by, plan.photos, plan.fit, loaded.backbone.crop)
    held = _held(plan, material)
    if photos.layout:
        listener.said(f"parts: {photos.layout}")
    listener.said(f"{len(held)} photos of {len(material.labels)} labels, {held.sum()} of them for validation")

    work = _Work(plan, listener, processes, clock, loaded, material, held)
    before = clock()
    pretrained = _embed(work, loaded.embedder)
    work.before, work.head = measure(pretrained, material, held), fit_head(pretrained, material, held)
    ungrouped = plan.group_by is None and not material.held.any()
    work.bursts = Bursts()
    if ungrouped:
        work.bursts = find_bursts(material.paths, material.targets, material.labels, pretrained)
    if work.bursts.labels:
        listener.said(f"warning: {work.bursts.warning}")
    embedding = clock() - before
    reserve = RESERVE * embedding
    outcomes = [Outcome(STRATEGIES["head"], work.before, clock() - began, 0, (), "nothing to train")]
    listener.said(f"head: {_figure(work.before)}")
    listener.doing("comparing with an untrained network")
    baselines = measure_baselines(plan.backbone, material, pretrained, plan.seed)
    if baselines.warning:
        listener.said(f"warning: {baselines.warning}")
    if taps and STRATEGIES["taps"] in wanted:
        if plan.strategy == "auto" and np.bincount(material.targets).min() < ENOUGH:
            reason = f"a label has fewer than {ENOUGH} photos, which might all be from one place or person"
            listener.said(f"taps: not tried, {reason}")
        else:
            left = 60 * plan.minutes - reserve - (clock() - began)
            outcomes.append(_tap(work, taps, outcomes[0], processes.first_says(left) > TAPPING * embedding))

    network = fingerprint(work.loaded.embedder, material.size, plan.fit, work.loaded.backbone.crop)
    work.unfinished = Unfinished(
        plan.output, (network, *material.hashes, plan.seed, plan.group_by, plan.flip), processes
    )
    training = [strategy for strategy in wanted if strategy.trains]
    earlier = {strategy.name: work.unfinished.spent(strategy) for strategy in training}
    for strategy in training:
        left = 60 * plan.minutes - reserve - sum(earlier.values()) - (clock() - began)
        share = strategy.share if plan.strategy == "auto" else 1.0
        seconds = processes.first_says(share * left + earlier[strategy.name])
        outcomes.append(_try(work, strategy, seconds))
    kept, why = choose(outcomes, forced=plan.strategy != "auto")

    final = work.before
    if STRATEGIES[kept].trains:
        work.loaded.embedder.get_submodule("trunk").load_state_dict(work.states[kept], strict=False)
        final = measure(_embed(work, work.loaded.embedder), material, held, trained=True)
        outcomes = [replace(one, measured=final) if one.strategy.name == kept else one for one in outcomes]
    result = _result(work, outcomes, kept, why, final, baselines, clock() - began)
    if processes.is_first:
        _write(result, work.loaded.embedder)
        work.unfinished.remove()
    processes.barrier()
    return result


def _held(plan: Plan, material: Material) -> NDArray[np.bool_]:
    """Which photos are used for validation: the folder's own part for that, else a fraction of each label."""
    if not material.held.any():
        return split_groups(material.targets, material.groups, material.labels, HOLD_OUT, plan.seed)
    for target, label in enumerate(material.labels):
        if len(set(material.held[material.targets == target].tolist())) < 2:
            raise DatasetError(
                "grouping-too-coarse",
                f"the photos of label {label!r} are all in one part of {plan.photos}; both parts need some",
            )
    return material.held


# --- one strategy ----------------------------------------------------------------------------------------------------


def _tap(work: _Work, taps: tuple[int, ...], head: Outcome, in_time: bool) -> Outcome:
    """Join earlier maps to the embedding; where that is better, or was asked for, go on with it."""
    strategy, began, material, row = STRATEGIES["taps"], work.clock(), work.material, work.loaded.backbone
    if not in_time:
        return Outcome(strategy, None, 0.0, 0, (), NO_TIME)
    work.listener.doing("taps: settling how earlier maps are joined")
    network, others = embedder(work.loaded.trunk, taps, row.pixels), np.flatnonzero(~work.held)

    def batches() -> Iterator[NDArray[np.uint8]]:
        for at in range(0, len(others), BATCH):
            work.listener.step(at, len(others))
            yield material.centres[others[at : at + BATCH]]

    features = settle(network, batches()).shape[1]
    embeddings = _embed(work, network)
    measured = measure(embeddings, material, work.held)
    now, before = (percent(float(one.right[~one.held].mean())) for one in (measured, work.before))
    note = (
        f"maps of blocks {', '.join(map(str, taps))}: {features:,} numbers instead of {row.embedding:,}; of the photos "
        f"for training, each left out, {now} are classified correctly instead of {before}"
    )
    outcome = Outcome(strategy, measured, work.clock() - began, 0, (), note)
    work.listener.said(f"taps: {_figure(measured)}")
    if work.plan.strategy == "taps" or beats(outcome, head):
        work.loaded = replace(work.loaded, backbone=replace(row, taps=taps, embedding=features), embedder=network)
        work.before, work.head = measured, fit_head(embeddings, material, work.held)
    return outcome


def _try(work: _Work, strategy: Strategy, seconds: float) -> Outcome:
    """Train by one strategy within some seconds, over all runs, and measure what it came to."""
    material = work.material
    trunk = copy.deepcopy(work.loaded.embedder.get_submodule("trunk"))
    size = 4 * sum(parameter.numel() for parameter in strategies.unfreeze(trunk, strategy, material.size).values())
    path = work.unfinished.checkpoint(strategy)
    note = NO_TIME
    if seconds > 1 or path.exists():
        work.listener.doing(f"{strategy.name}: training {strategy.summary}")
        augment = Augment(work.plan.seed, flip=work.plan.flip)
        step = work.listener.step
        task = Task(
            material, work.held, work.before, work.head, augment, seconds, path, work.processes, step, work.clock
        )
        trained = train(work.loaded.embedder, strategy, task)
        if len(trained.curve) > 1:
            work.states[strategy.name] = trained.state
            measured = _measure(work, trained)
            work.listener.said(f"{strategy.name}: {_figure(measured)}, {trained.seconds:.0f} s")
            return Outcome(strategy, measured, trained.seconds, size, trained.curve, _note(trained))
        note = f"two passes over the photos take longer than the {seconds:.0f} s available"
    work.listener.said(f"{strategy.name}: {note}")
    return Outcome(strategy, None, 0.0, size, (), note)


def _embed(work: _Work, embedder: nn.Module) -> NDArray[np.float32]:
    """Embed all photos as the device would."""
    work.listener.doing("embedding photos as the device does")
    return embed_pixels(freeze(embedder, work.material.size), work.material.centres, work.listener.step)


def _measure(work: _Work, trained: Trained) -> Measured:
    """Measure what was kept of a training."""
    import torch

    material, device = work.material, work.processes.device
    network = copy.deepcopy(work.loaded.embedder).to(device)
    network.get_submodule("trunk").load_state_dict(trained.state, strict=False)
    with fast_inference(device):
        every = np.arange(len(work.held))
        embeddings = embed_rows(network, lambda rows: torch.from_numpy(material.centres[rows]).to(device), every)
    return measure(embeddings, material, work.held, trained=True)


def _note(trained: Trained) -> str:
    mixed = (
        "" if trained.mix == 1 else f", mixed {100 * trained.mix:.0f} : {100 - 100 * trained.mix:.0f} with pretrained"
    )
    best = min(trained.curve, key=lambda point: point.loss)
    return f"{trained.epochs} of {trained.planned or '?'} passes, {trained.ended}; best after {best.epoch}{mixed}"


def _figure(measured: Measured) -> str:
    right, total = int(measured.right[measured.held].sum()), int(measured.held.sum())
    return f"{100 * measured.accuracy:.1f} % of the validation photos correct ({right} of {total})"


# --- what there is to say ---------------------------------------------------------------------------------------------


def _result(
    work: _Work, outcomes: list[Outcome], kept: str, why: str, final: Measured, baselines: Baselines, seconds: float
) -> Adapted:
    """All that was found, for people, and as adapted.json says it."""
    plan, material, held = work.plan, work.material, work.held
    truth = [name for name, out in zip(material.names, held, strict=True) if out]
    evaluation = evaluate(final.probabilities[held], truth, final.labels)
    hashes = np.array(material.hashes)
    report = {
        "why": why,
        "seed": plan.seed,
        "group_by": plan.group_by,
        "careful": work.bursts.warning,
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
        format=1 if plan.fit == "crop" else adapted.FORMAT,
        fit=plan.fit,
    )
    return Adapted(
        adaptation, plan.output, material, held, tuple(outcomes), kept, why, final, evaluation, baselines, seconds
    )


def _write(result: Adapted, embedder: nn.Module) -> None:
    """Weights and report first, adapted.json last: with it the folder is complete."""
    from safetensors.torch import save  # save_file's errors are none of the system's

    from export.adapt.report import report

    folder = result.folder
    with replacing(folder / adapted.WEIGHTS) as partial:
        partial.write_bytes(save({name: tensor.contiguous() for name, tensor in state(embedder).items()}))
    with replacing(folder / adapted.REPORT) as partial:
        partial.write_text(report(result), encoding="utf-8", errors="backslashreplace")
    adapted.write(folder, result.adaptation)
