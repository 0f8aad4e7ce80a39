"""Merges contributions into a bundle: all of `edge-export fleet merge` except for printing.

The backbone, background, golden pictures and the workstation's own examples come from the base, the bundle that the
devices run. If the base is itself a release of the fleet, only the workstation's examples in it count, so no device
counts twice and an undone device is gone. If anything fails, no bundle is written, and an existing file stays as it
was. The same contributions give the same bytes in any order: the bundle's time is that of the newest picture in it, not
that of the merge.

**What a device fits.** A device fits its head to the examples in the bundle. Up to 16 million numbers (13,000 examples
of 1,280), the bundle contains all examples. For a larger fleet it contains a sample of whole devices, chosen by hash,
and its accuracy is that of a head fitted to the sample. The report also gives the accuracy of a head fitted to all
examples, from the exact sums, to show what the sample costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from edge.bundle import archive
from edge.bundle.archive import Bundle, FactoryExamples
from edge.bundle.manifest import Accuracy as Told
from edge.bundle.manifest import Manifest
from edge.errors import NotEnough
from edge.fleet.header import moment
from edge.fleet.remote import Remote
from edge.head.moments import GRID
from export.fleet.gather import Contributions, Refused, Rules
from export.pool.fitted import fit
from export.pool.pool import Device, Factory, Pool
from export.pool.sums import Sums
from export.pool.truth import Accuracy, Judged, accuracy, judge
from export.written import check_bundle

Step = Callable[[int, int], None]


_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Merged:
    """The result of a merge."""

    bundle: Bundle
    devices: int  # the number of devices in the bundle, or in the sums if `shipped` is less than `examples`
    examples: int  # the number of the devices' examples that count
    factory: int  # the number of the workstation's own examples
    shipped: int  # the number of the devices' examples in the bundle
    labels: dict[str, int]  # the number of examples of each label, including the workstation's own
    accuracy: Accuracy | None  # accuracy of a head fitted to the bundle, leaving out each device; None if unknown
    accuracy_of_all: Accuracy | None  # accuracy of a head fitted to all examples, measured on the same devices
    refused: tuple[Refused, ...]  # the contributions that do not count, with the reasons
    undone: tuple[str, ...]  # the devices that are undone
    doubled: tuple[str, ...]  # the devices that have two contributions with the same sequence
    signed: int  # the number of merged contributions that are signed
    checked: bool  # whether signatures were required and checked


def merge(remote: Remote, base: Path, output: Path, rules: Callable[[Bundle], Rules], step: Step) -> Merged:
    """Merge the contributions of a store into a bundle.

    Args:
        base: the bundle that the devices run.
        rules: returns the rules for a base.
        step: called after each contribution with (number read, total).

    Raises:
        BundleError: the base cannot be read, or the output cannot be written.
        StoreError: the store cannot be read.
        NotEnough: no contribution counts.
    """
    check_bundle(output)
    opened = archive.read(base)
    contributions = Contributions(remote, rules(opened))
    pool = pooled(opened, contributions, step)
    if not pool.device_examples:
        raise NotEnough(
            "too-few-examples",
            f"none of {len(contributions.listed)} contributions in {remote.url} counts"
            + _first(tuple(contributions.refused.values())),
        )
    sample = pool.devices
    of_all = figure(pool, sample)
    shipped = of_all if pool.everything else figure(pool, sample, _sums(pool, sample))
    bundle = _written(opened, output, pool, sample, contributions, shipped)
    return Merged(
        bundle,
        pool.device_count,
        pool.device_examples,
        len(pool.factory.labels),
        sum(map(len, sample)),
        dict(sorted(pool.sums.counts.items())),
        shipped,
        of_all,
        tuple(contributions.refused.values()),
        tuple(sorted(contributions.undone)),
        tuple(sorted(contributions.doubled)),
        contributions.signed,
        contributions.rules.signers is not None,
    )


def pooled(base: Bundle, contributions: Contributions, step: Step) -> Pool:
    """Read all contributions that count, and add them to the base's own examples."""
    pool = Pool(contributions.rules.backbone.dimension, factory_of(base, contributions.rules))
    for number, device in enumerate(contributions.devices(), 1):
        pool.add(device)
        step(number, len(contributions.listed))
    step(len(contributions.listed), len(contributions.listed))
    return pool


def factory_of(base: Bundle, rules: Rules) -> Factory:
    """Return the workstation's own examples of a bundle."""
    examples = base.examples()
    own = np.flatnonzero(examples.devices < 0)
    names = [rules.labels.get(label, label) for label in base.manifest.labels]
    return Factory(
        np.asarray(examples.embeddings)[own],
        tuple(names[label] for label in examples.labels[own].tolist()),
        examples.trained_on[own],
        examples.groups[own],
    )


def figure(pool: Pool, sample: list[Device], sums: Sums | None = None) -> Accuracy | None:
    """Measure a head of the pool on its sample, leaving out each device; None if it cannot be measured."""
    fitted = fit(pool, sums)
    judged: list[Judged] = judge(fitted, sample, lambda _: (), lambda _: False)
    return accuracy(judged)


def _sums(pool: Pool, sample: list[Device]) -> Sums:
    """Return the sums over the examples in the bundle."""
    total = Sums(pool.sums.features)
    total.add(pool.factory.rows(), pool.factory.labels)
    for device in sample:
        total.add(device.rows, device.labels)
    return total


def _written(
    base: Bundle, output: Path, pool: Pool, sample: list[Device], contributions: Contributions, told: Accuracy | None
) -> Bundle:
    examples, labels = shipped_examples(pool, sample)
    times = [base.manifest.created, *(contributions.told[device.name].taught for device in sample)]
    newest = max((time for text in times if (time := moment(text))), default=_NEVER)
    manifest = Manifest(
        name=output.stem,
        created=newest.isoformat(timespec="seconds"),
        backbone=base.manifest.backbone,
        labels=labels,
        models=base.manifest.models,
        accuracy=Told(told.accuracy, *told.interval, told.examples) if told else None,
        background=base.manifest.background,
        devices=tuple(device.name for device in sample),
    )
    models = {model.file: base.entry(model.file) for model in base.manifest.models}
    # contributions do not describe their pictures, so the base's domain would be that of other cameras
    return archive.write(output, manifest, models, base.golden(), examples, base.background(), None)


def shipped_examples(pool: Pool, sample: list[Device]) -> tuple[FactoryExamples, tuple[str, ...]]:
    """Return the examples for a bundle, the workstation's own first, and its labels."""
    factory = pool.factory
    own, count = len(factory.labels), len(factory.labels) + sum(map(len, sample))
    names = [*factory.labels, *(label for device in sample for label in device.labels)]
    labels = tuple(sorted(set(names)))
    place = {label: number for number, label in enumerate(labels)}
    embeddings = np.empty((count, pool.sums.features), np.float32)
    embeddings[:own] = factory.rows() / np.float32(GRID)
    groups, devices = np.empty(count, np.int32), np.full(count, -1, np.int32)
    groups[:own] = factory.groups
    images = np.zeros((count, 32), np.uint8)
    start, group = own, int(factory.groups.max(initial=-1)) + 1
    for number, device in enumerate(sample):
        rows = slice(start, start + len(device))
        np.divide(device.rows, np.float32(GRID), out=embeddings[rows], casting="unsafe")
        images[rows], devices[rows] = device.images, number
        numbers: dict[str | None, int] = {None: -1}
        for session in device.sessions:
            numbers.setdefault(session, group + len(numbers) - 1)
        groups[rows] = [numbers[session] for session in device.sessions]
        group += len(numbers) - 1
        start += len(device)
    trained_on = np.concatenate([factory.trained_on, np.zeros(count - own, np.bool_)])
    columns = np.array([place[name] for name in names], np.int32)
    return FactoryExamples(embeddings, columns, trained_on, groups, images=images, devices=devices), labels


def _first(refused: tuple[Refused, ...]) -> str:
    return f"; the first reason: {refused[0].why}" if refused else "; contribute from a device: edge contribute URL"
