"""From contributions to a bundle: the whole of `edge-export fleet merge`, without a word printed.

The backbone, the background and the golden pictures are those of the base, the bundle that the devices run; its own
examples stay in. If the base is itself a release of the fleet, only what the workstation put into it counts, so that no
device counts twice and an undone one is gone. Whatever fails, no bundle is written, and an older one of that name stays
as it was. The same contributions give the same bytes, whatever their order: the bundle's time is that of the newest
picture in it, not that of the merge.

**What a device fits.** A device makes its head from the examples that a bundle ships. Up to 16 million numbers (13,000
examples of 1,280) they are all shipped. Of a larger fleet the bundle ships a sample of whole devices, chosen by hash,
and the figure it carries is that of a head fitted to the sample; the figure of a head fitted to all, from the exact
sums, stands beside it in the report, so that what the sample costs is seen.
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
    """What became of a merge.

    Args:
        bundle: the bundle that was written.
        devices: how many devices are in it, or, where `shipped` is less than `examples`, in its sums.
        examples: of these devices, as they count.
        factory: how many examples are the workstation's own.
        shipped: how many of the devices' examples the bundle holds.
        labels: examples of each label, the workstation's own as well.
        accuracy: of a head fitted to what is shipped, each device left out; None where it cannot be measured.
        accuracy_of_all: of a head fitted to all examples, measured on the same devices.
        refused: contributions that do not count, with the reason.
        undone: devices that are undone.
        doubled: devices of which two contributions have one sequence.
        signed: how many contributions in it have a signature beside them.
        checked: whether signatures were asked for and checked.
    """

    bundle: Bundle
    devices: int
    examples: int
    factory: int
    shipped: int
    labels: dict[str, int]
    accuracy: Accuracy | None
    accuracy_of_all: Accuracy | None
    refused: tuple[Refused, ...]
    undone: tuple[str, ...]
    doubled: tuple[str, ...]
    signed: int
    checked: bool


def merge(remote: Remote, base: Path, output: Path, rules: Callable[[Bundle], Rules], step: Step) -> Merged:
    """Merge the contributions of a store into a bundle.

    Args:
        remote: the store.
        base: the bundle that the devices run.
        output: the bundle to write.
        rules: what counts, by the base.
        step: called after each contribution with how many were read, and how many there are.

    Raises:
        BundleError: the base cannot be read, or the output not be written.
        StoreError: the store cannot be read.
        NotEnough: no contribution counts.
    """
    check_bundle(output)
    opened = archive.read(base)
    told = rules(opened)
    contributions = Contributions(remote, told)
    pool = Pool(told.backbone.dimension, factory_of(opened, told))
    for number, device in enumerate(contributions.devices(), 1):
        pool.add(device)
        step(number, len(contributions.listed))
    step(len(contributions.listed), len(contributions.listed))
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
        len(pool.factory.labels) if pool.factory else 0,
        sum(map(len, sample)),
        dict(sorted(pool.sums.counts.items())),
        shipped,
        of_all,
        tuple(contributions.refused.values()),
        tuple(sorted(contributions.undone)),
        tuple(sorted(contributions.doubled)),
        contributions.signed,
        told.signers is not None,
    )


def factory_of(base: Bundle, rules: Rules) -> Factory | None:
    """Return the workstation's own examples of a bundle; None if it has none."""
    examples = base.examples()
    own = np.flatnonzero(examples.devices < 0)
    if not len(own):
        return None
    names = [rules.labels.get(label, label) for label in base.manifest.labels]
    return Factory(
        np.asarray(examples.embeddings)[own],
        tuple(names[label] for label in examples.labels[own].tolist()),
        examples.trained_on[own],
        examples.groups[own],
    )


def figure(pool: Pool, sample: list[Device], sums: Sums | None = None) -> Accuracy | None:
    """Measure a head of the pool on its sample, each device left out; None where it cannot be measured."""
    fitted = fit(pool, sums)
    judged: list[Judged] = judge(fitted, sample, lambda _: (), lambda _: False)
    return accuracy(judged)


def _sums(pool: Pool, sample: list[Device]) -> Sums:
    """The sums of what is shipped."""
    total = Sums(pool.sums.features)
    if pool.factory is not None:
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
    # a contribution says nothing of how its pictures look, so the domain of the base would be that of other cameras
    return archive.write(output, manifest, models, base.golden(), examples, base.background(), None)


def shipped_examples(pool: Pool, sample: list[Device]) -> tuple[FactoryExamples, tuple[str, ...]]:
    """Return the examples of a bundle, the workstation's own first, and its labels."""
    factory = pool.factory or Factory(
        np.zeros((0, pool.sums.features), np.float32), (), np.zeros(0, np.bool_), np.zeros(0, np.int32)
    )
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


def moment(text: str) -> datetime | None:
    """Return a time as UTC; None where the text is none.

    >>> moment("2026-11-29T13:00:00+01:00").isoformat(), moment("yesterday")
    ('2026-11-29T12:00:00+00:00', None)
    """
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _first(refused: tuple[Refused, ...]) -> str:
    return f"; the first reason: {refused[0].why}" if refused else "; contribute from a device: edge contribute URL"
