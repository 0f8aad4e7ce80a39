"""Adapts a network to a folder of photos: all of `edge-export adapt`.

The steps are: decode the photos, hold out some of each class, embed all with the pretrained network, and fit the
device's head. This is the strategy `head`, which the others have to beat. Then the other strategies follow, cheapest
first. Each is measured as on the device: the network is exported, and the device's head, fitted to the embeddings of
all photos, classifies each photo as if it had not been taught. export/adapt/outcome.py decides which one to keep.

`taps` trains nothing. `auto` does not try it with fewer than `ENOUGH` photos of a label, because ten photos from one
place can be told apart by the place as well. The strategy that trains gets the remaining time, trains twice
(export/adapt/halves.py), and starts from the better embedding, with or without taps. If a run is killed, the same
command resumes it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save  # save_file does not raise OSError
from torch import nn

import edge
from edge.errors import BundleError, DatasetError
from edge.files import replacing
from edge.metrics.evaluate import evaluate
from edge.text import percent
from export.adapt import strategies
from export.adapt.halves import mean_of, put_together, split_in_halves
from export.adapt.outcome import Adapted, Outcome, beats, choose
from export.adapt.processes import Processes
from export.adapt.report import report
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
from export.photos.split import lone_labels, split_groups

HOLD_OUT = 0.2
SHRUNK = 5 / 7  # side of training pictures relative to the device's input: a pass takes half the time
STRIDE = 32  # factor by which networks reduce a picture's side
ANSWERING = 3.5  # times the first embedding's duration: two networks and their mean embed all photos
RESERVE = 0.3  # times the first embedding's duration: reserved for the report
TAPPING = 2.5  # times the first embedding's duration: for choosing the taps and embedding with them
NO_TIME = "there was no time left for it"


@dataclass(frozen=True)
class Plan:
    """What to adapt."""

    photos: Path  # folder of class folders
    output: Path  # folder to write; created if it does not exist
    created: str  # time of creation, ISO 8601, UTC
    backbone: str = backbones.DEFAULT  # as for `export.network.backbones.load`
    weights: str = ""  # the same
    size: int = 0  # pixels per side of the network's input; 0 for its own
    strategy: str = "auto"  # `auto`, or a name of `export.adapt.strategies`
    minutes: float = 20.0  # time limit for everything, over all runs
    seed: int = 0  # random seed for the split, the augmentation and the order of photos
    group_by: str | None = None  # as for `export.photos.split.group_photos`
    flip: bool = True  # whether to train on mirror images too
    fit: str = "crop"  # how photos are made square: a name of `edge.bundle.manifest.FITS`
    progress: bool = False  # show a progress bar for downloads


@dataclass
class _Work:
    """State shared by the strategies of one run; `loaded` and `before` belong to the better embedding so far."""

    plan: Plan
    listener: Listener
    processes: Processes
    clock: Callable[[], float]
    loaded: Loaded
    material: Material
    held: NDArray[np.bool_]
    before: Measured = field(init=False)
    embeddings: NDArray[np.float32] = field(init=False)
    bursts: Bursts = field(init=False)
    unfinished: Unfinished = field(init=False)
    state: Mapping[str, torch.Tensor] = field(default_factory=dict)  # the trained parameters, by name


def adapt(plan: Plan, listener: Listener, processes: Processes, clock: Callable[[], float] = time.monotonic) -> Adapted:
    """Adapt a network to photos.

    Args:
        processes: This process's place among all; only the first writes files.

    Raises:
        DatasetError: The folder of photos cannot be used, or a class is too small to hold out some of it.
        BundleError: The weights do not fit, or the output folder cannot be used.
    """
    began = clock()
    check_output(plan.output)
    loaded = backbones.load(plan.backbone, plan.weights, plan.progress)
    loaded = replace(loaded, backbone=replace(loaded.backbone, size=plan.size or loaded.backbone.size))
    taps = () if loaded.backbone.taps else every_third(loaded.trunk)
    if plan.strategy == "taps" and not taps:
        reason = "joins earlier maps already" if loaded.backbone.taps else "has too few blocks"
        raise BundleError(
            "strategy-unsuitable", f"the embedding of {plan.backbone} {reason}; choose another --strategy"
        )
    wanted = _wanted(plan, listener, in_sequence=len(blocks(loaded.trunk)) > 1)
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
    work.before, work.embeddings = measure(pretrained, material, held), pretrained
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
    if wanted[-1].trains:
        left = 60 * plan.minutes - reserve - ANSWERING * embedding - (clock() - began)
        outcomes.append(_train(work, wanted[-1], processes.first_says(left)))
    kept, why = choose(outcomes, forced=plan.strategy != "auto")

    final = work.before
    if STRATEGIES[kept].trains:
        work.loaded.embedder.get_submodule("trunk").load_state_dict(work.state, strict=False)
        final = outcomes[-1].measured or final
    result = _result(work, outcomes, kept, why, final, baselines, clock() - began)
    if processes.is_first:
        _write(result, work.loaded.embedder)
        work.unfinished.remove()
    processes.barrier()
    return result


def _wanted(plan: Plan, listener: Listener, in_sequence: bool) -> list[Strategy]:
    """Return the strategies to try, the one that trains last; `full` is for networks without a sequence of blocks."""
    if plan.strategy != "auto":
        if plan.strategy not in STRATEGIES:
            raise DatasetError(
                "option-invalid", f"there is no strategy {plan.strategy!r}; choose auto, {', '.join(STRATEGIES)}"
            )
        strategy = STRATEGIES[plan.strategy]
        if strategy.name == "last-stages" and not in_sequence:
            raise BundleError(
                "strategy-unsuitable",
                f"the parts of {plan.backbone} do not follow one another, so that none of them are the last "
                "stages; choose another --strategy",
            )
        return [strategy]
    if not in_sequence:
        listener.said(f"last-stages: not tried, because the parts of {plan.backbone} are not in sequence")
    return [STRATEGIES[name] for name in ("head", "taps", "last-stages" if in_sequence else "full")]


def _held(plan: Plan, material: Material) -> NDArray[np.bool_]:
    """Return which photos are held out: the folder's own validation part, or a fraction of each label."""
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
    """Join earlier maps to the embedding, and continue with it if it is better or was requested."""
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
        work.before, work.embeddings = measured, embeddings
    return outcome


def _train(work: _Work, strategy: Strategy, seconds: float) -> Outcome:
    """Train with one strategy on each half of the photos, within a time limit, and measure the result.

    Args:
        seconds: Time limit for both trainings with their measurements, over all runs.
    """
    material, held, name = work.material, work.held, strategy.name
    trunk = copy.deepcopy(work.loaded.embedder.get_submodule("trunk"))
    bytes_changed = 4 * sum(p.numel() for p in strategies.unfreeze(trunk, strategy, material.size).values())

    def untrained(note: str) -> Outcome:
        work.listener.said(f"{name}: {note}")
        return Outcome(strategy, None, 0.0, bytes_changed, (), note)

    lone = lone_labels(material.targets[~held], material.groups[~held], material.labels)
    if lone:
        return untrained(
            f"of label {lone[0]!r} there is one photo, or group, to train on, and each of two halves needs one"
        )
    row = work.loaded.backbone
    size = material.size if row.fixed else max(STRIDE, STRIDE * round(SHRUNK * material.size / STRIDE))
    augment = Augment(work.plan.seed, flip=work.plan.flip)
    halves = split_in_halves(material, held, work.plan.seed)
    found: list[Trained] = []
    for part, half in enumerate(halves, 1):
        path = work.unfinished.checkpoint(strategy, part)
        mine = seconds - found[0].seconds if found else seconds / 2
        if mine <= 1 and not path.exists():
            return untrained(NO_TIME)
        work.listener.doing(f"{name}: training {strategy.summary} on half of the photos, {part} of 2")
        task = Task(
            material, half, held, work.before, fit_head(work.embeddings, material, ~half), augment, size, mine, path,
            work.processes, work.listener.step, work.clock,
        )  # fmt: skip
        trained = train(work.loaded.embedder, strategy, task)
        if len(trained.curve) < 2:
            return untrained(f"two passes over half of the photos take longer than the {mine:.0f} s available")
        found.append(trained)

    work.state = mean_of([trained.state for trained in found])
    first, second = halves
    answers = [
        (held, _answers(work, work.state, ~held)),
        (second, _answers(work, found[0].state, first)),
        (first, _answers(work, found[1].state, second)),
    ]
    measured, took = put_together(answers), sum(trained.seconds for trained in found)
    work.listener.said(f"{name}: {_figure(measured)}, {took:.0f} s")
    fair = measured.right[~held]
    note = "; ".join(_note(trained) for trained in found)
    note += f"; {fair.sum()} of {len(fair)} training photos correct, by the network that was not trained on them"
    return Outcome(strategy, measured, took, bytes_changed, tuple(trained.curve for trained in found), note)


def _answers(work: _Work, state: Mapping[str, torch.Tensor], trained_on: NDArray[np.bool_]) -> Measured:
    """Return the device head's answers for a trained network's embeddings."""
    network = copy.deepcopy(work.loaded.embedder)
    network.get_submodule("trunk").load_state_dict(state, strict=False)
    return measure(_embed(work, network), work.material, work.held, trained_on)


def _embed(work: _Work, embedder: nn.Module) -> NDArray[np.float32]:
    """Embed all photos as the device would."""
    work.listener.doing("embedding photos as the device does")
    return embed_pixels(freeze(embedder, work.material.size), work.material.centres, work.listener.step)


def _note(trained: Trained) -> str:
    best = min(trained.curve[1:], key=lambda point: point.loss)
    return f"{trained.epochs} of {trained.planned or '?'} passes, {trained.ended}; best after {best.epoch}"


def _figure(measured: Measured) -> str:
    right, total = int(measured.right[measured.held].sum()), int(measured.held.sum())
    return f"{100 * measured.accuracy:.1f} % of the validation photos correct ({right} of {total})"


# --- the result -------------------------------------------------------------------------------------------------------


def _result(
    work: _Work, outcomes: list[Outcome], kept: str, why: str, final: Measured, baselines: Baselines, seconds: float
) -> Adapted:
    """Collect the results, for people and for adapted.json."""
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
                "curves": [[asdict(point) for point in curve[1:]] for curve in outcome.curves],
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
    """Write the weights and the report first and adapted.json last, which marks the folder as complete."""
    folder = result.folder
    with replacing(folder / adapted.WEIGHTS) as partial:
        partial.write_bytes(save({name: tensor.contiguous() for name, tensor in state(embedder).items()}))
    with replacing(folder / adapted.REPORT) as partial:
        partial.write_text(report(result), encoding="utf-8", errors="backslashreplace")
    adapted.write(folder, result.adaptation)
