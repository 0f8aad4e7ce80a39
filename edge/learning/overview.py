"""Reports about a home that change nothing: its status, and its history of generations."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge.answers import HistoryEntry, LabelCount, Status
from edge.home.factory import factory_examples, factory_labels
from edge.metrics.unmeasured import read
from edge.unknown.drift import drift_of
from edge.unknown.gate import Gate

if TYPE_CHECKING:
    from edge.home.state import Home


def status(home: "Home") -> Status:
    """Return the home at a glance."""
    store = home.store
    number = home.serving().generation
    serving = store.generation(number)
    local, held_out = store.counts(), store.counts(held_out=True)
    last = store.generation_numbers()[-1]
    newest = serving if last == number else store.generation(last)
    factory = Counter(name for name in factory_examples(home.bundle, store)[1] if name is not None)
    return Status(
        home=str(home.home),
        bundle=home.bundle.manifest.name,
        backbone=home.info.name,
        format=home.model.format,
        precision=home.model.precision,
        generation=number,
        trained=serving.created,
        method=serving.method,
        loo_accuracy=serving.figures.get("loo_accuracy"),
        loo_interval=_pair(serving.figures.get("loo_interval")),
        scope=serving.figures.get("scope", "all"),
        unmeasured=read(serving.figures.get("unmeasured"), serving.labels),
        labels=tuple(
            LabelCount(label, local[label], factory[label], held_out[label])
            for label in sorted({*local, *factory, *held_out})
        ),
        untrained_examples=store.count_after(number),
        region=str(home.region) if home.region else None,
        known_coverage=Gate.from_bytes(serving.gate).coverage if serving.gate else None,
        drift=drift_of(store.get("recent"), number),
        candidate=newest.generation if newest.generation > number and not newest.promoted else None,
        keeps_crops=home.keeps_crops,
        forgotten=tuple(
            label
            for label, here in zip(home.bundle.manifest.labels, factory_labels(store), strict=True)
            if here is None
        ),
    )


def history(home: "Home") -> list[HistoryEntry]:
    """Return every generation, oldest first."""
    store = home.store
    serving = home.serving().generation
    return [
        HistoryEntry(
            generation=g.generation,
            created=g.created,
            method=g.method,
            labels=g.labels,
            local_examples=g.figures.get("local_examples", 0),
            factory_examples=g.figures.get("factory_examples", 0),
            loo_accuracy=g.figures.get("loo_accuracy"),
            loo_interval=_pair(g.figures.get("loo_interval")),
            scope=g.figures.get("scope", "all"),
            unmeasured=read(g.figures.get("unmeasured"), g.labels),
            held_out_accuracy=_share(g.figures.get("held_out_right"), g.figures.get("held_out_examples")),
            held_out_examples=g.figures.get("held_out_examples", 0),
            serving=g.generation == serving,
            usable=g.head is not None and g.backbone == home.info.fingerprint and not g.damaged,
            promoted=g.promoted,
            refusal=g.figures.get("refusal", ""),
        )
        for g in store.each_generation()
    ]


def _pair(values: Sequence[float] | None) -> tuple[float, float] | None:
    return None if values is None else (values[0], values[1])


def _share(right: int | None, total: int | None) -> float | None:
    return right / total if right is not None and total else None
