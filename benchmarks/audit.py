"""`make bench-trust`, second half: does the audit find wrong labels, and does the promotion gate stop worse heads?

    python -m benchmarks.audit [--cache DIR] [--seeds 10] [--only flips|gate|curve|time]

Flips: 20 examples per label, one in ten under a wrong name; the share of these among the first 15 % of the list, ours
and what else is used. Gate: real homes, taught and retrained; how often the new head serves, and what it is truly worth
against the old one on photos that neither saw. Curve: what twice the examples were said to be worth, and what they
were. Time: an audit of 2,000 examples in a home, on one core.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.embeddings import BACKBONES, Set, photo_sets
from benchmarks.heads import named
from edge.audit.curve import doubled
from edge.audit.suspects import suspicions
from edge.bundle import archive
from edge.bundle.archive import FactoryExamples, Golden
from edge.bundle.manifest import BackboneInfo, Manifest, ModelFile
from edge.head.fit import Examples, fit
from edge.head.linear import unit
from edge.home.examples import Embedded
from edge.home.factory import put_factory_labels
from edge.home.store import open_store
from edge.learner import Learner
from edge.metrics.evaluate import margins

Array = Any
K = 20
FIRST = 0.15


def drawn(one: Set, k: int, rng: np.random.Generator) -> Array:
    """(C, k) rows of the training set."""
    y = one.train_labels
    return np.stack([rng.permutation(np.flatnonzero(y == c))[:k] for c in range(int(y.max()) + 1)])


def flipped(labels: Array, share: float, rng: np.random.Generator) -> Array:
    """Give a share of the labels another name."""
    wrong = rng.permutation(len(labels))[: round(share * len(labels))]
    other = labels.copy()
    other[wrong] = (other[wrong] + rng.integers(1, int(labels.max()) + 1, len(wrong))) % (int(labels.max()) + 1)
    return other


# wrong labels -----------------------------------------------------------------------------------------------------


def ours(x: Array, labels: Array) -> Array:
    return np.array(suspicions(Examples(x, named(labels))).order)


def plain_margin(x: Array, labels: Array) -> Array:
    result = fit(Examples(x, named(labels)))
    return np.argsort(margins(result.loo, named(labels), result.head.labels), kind="stable")


def plain_own(x: Array, labels: Array) -> Array:
    result = fit(Examples(x, named(labels)))
    return np.argsort(result.loo[np.arange(len(labels)), labels], kind="stable")


def confident_learning(x: Array, labels: Array) -> Array:
    """Cleanlab's recipe: five-fold logistic regression, normalized margin."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    p = cross_val_predict(LogisticRegression(C=10, max_iter=300), unit(x), labels, cv=5, method="predict_proba")
    return np.argsort(margins(p, named(labels), tuple(sorted(set(named(labels))))), kind="stable")


def neighbours(x: Array, labels: Array) -> Array:
    """The share of the ten nearest that have another label."""
    u = unit(x)
    cosines = u @ u.T
    np.fill_diagonal(cosines, -2)
    near = np.argsort(-cosines, axis=1)[:, :10]
    return np.argsort((labels[near] == labels[:, None]).mean(axis=1), kind="stable")


def ceiling(x: Array, labels: Array, clean: Array) -> Array:
    """What the embeddings allow: each label judged by a head that was taught all others rightly."""
    result = fit(Examples(x, named(clean)))
    return np.argsort(result.loo[np.arange(len(labels)), labels], kind="stable")


def flips(sets: list[Set], seeds: int) -> None:
    methods = {
        "edge audit": ours,
        "LOO, own label": plain_own,
        "LOO margin": plain_margin,
        "confident learning": confident_learning,
        "10 neighbours": neighbours,
    }
    print(f"\nflipped labels in the first {100 * FIRST:.0f} % of the list, k = {K}, {seeds} seeds (%)\n")
    columns = ("accuracy", *methods, "all others right")
    print("| set | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
    every = defaultdict(list)
    for one in sets:
        found = defaultdict(list)
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            rows = drawn(one, K, rng).ravel()
            clean = one.train_labels[rows]
            labels = flipped(clean, 0.1, rng)
            for name, method in methods.items():
                first = method(one.train[rows], labels)[: int(np.ceil(FIRST * len(labels)))]
                found[name].append((labels != clean)[first].sum() / (labels != clean).sum())
            first = ceiling(one.train[rows], labels, clean)[: int(np.ceil(FIRST * len(labels)))]
            found["all others right"].append((labels != clean)[first].sum() / (labels != clean).sum())
            head = fit(Examples(one.train[rows], named(labels))).head
            found["accuracy"].append((head.scores(one.test).argmax(axis=1) == one.test_labels).mean())
        cells = [f"{100 * np.mean(found[name]):.1f}" for name in columns]
        print(f"| {one.name} | " + " | ".join(cells) + " |", flush=True)
        for name in columns:
            every[name].append(np.mean(found[name]))
    print("| mean | " + " | ".join(f"{100 * np.mean(every[name]):.1f}" for name in columns) + " |")


# the gate ---------------------------------------------------------------------------------------------------------


class Box:
    """A real home whose pictures are embeddings."""

    def __init__(self, learner: Learner, one: Set) -> None:
        self.learner, self.one, self._count = learner, one, 0

    def teach(self, x: Array, labels: Array, held_out: bool = False) -> list[int]:
        store = self.learner.store
        with store.transaction():
            ids = []
            for row, label in zip(x, named(labels), strict=True):
                item = Embedded(label, row.astype(np.float32), f"{self._count:064x}", "camera")
                ids.append(store.add_example(item, self.learner.info.fingerprint, None, "now", held_out))
                self._count += 1
        return ids

    def relabel(self, ids: list[int], labels: Array) -> None:
        with self.learner.store.transaction():
            for number, label in zip(ids, named(labels), strict=True):
                self.learner.store.relabel_examples([number], label)

    def truth(self, test: Array | None = None) -> float:
        """Accuracy of the newest generation, serving or not, on photos never taught."""
        from edge.head.linear import Head

        head = Head.from_bytes(list(self.learner.store.each_generation())[-1].head or b"")
        names = np.array(head.labels)[head.scores(self.one.test if test is None else test).argmax(axis=1)]
        return float(np.mean(names == np.array(named(self.one.test_labels))))


@contextmanager
def box(one: Set, factory: Array = ()) -> Iterator[Box]:
    """A home for a set's embeddings, in which nothing is taught; these rows are the bundle's examples."""
    d, labels = one.train.shape[1], named(range(int(one.train_labels.max()) + 1))
    info = BackboneInfo("bench", "0" * 64, "none", "none", 16, 18, d)
    model = ModelFile("backbone.onnx", "onnx", "fp32", "none", 0.0, 1.0)
    manifest = Manifest("bench", "2026-11-24T00:00:00+00:00", info, labels, (model,), None)
    golden = Golden(np.zeros((1, 16, 16, 3), np.uint8), np.zeros((1, d), np.float32))
    rows = np.array(factory, np.int64)
    held = FactoryExamples(one.train[rows], one.train_labels[rows].astype(np.int32), np.zeros(len(rows), np.bool_))
    with tempfile.TemporaryDirectory() as folder:
        home, name = Path(folder), f"{0:016x}.edge"
        archive.write(home / name, manifest, {"backbone.onnx": b"none"}, golden, held)
        with Learner(home, lambda: datetime.now(UTC), store=open_store(home, create=True)) as learner:
            with learner.store.transaction():
                for key, value in (("bundle", name), ("format", "onnx"), ("precision", "fp32")):
                    learner.store.put(key, value)
                put_factory_labels(learner.store, labels)
            yield Box(learner, one)


Scenario = Callable[[Box, Set, np.random.Generator], None]


def wrong_later(share: float, canaries: int = 0) -> Scenario:
    """The very examples that are served get wrong labels."""

    def play(home: Box, one: Set, rng: np.random.Generator) -> None:
        drawing = drawn(one, K + canaries, rng)
        rows, held = drawing[:, :K].ravel(), drawing[:, K:].ravel()
        ids = home.teach(one.train[rows], one.train_labels[rows])
        home.teach(one.train[held], one.train_labels[held], held_out=True)
        home.learner.retrain()
        home.relabel(ids, flipped(one.train_labels[rows], share, rng))

    return play


def mended(share: float) -> Scenario:
    """The serving head learned wrong labels, which are mended."""

    def play(home: Box, one: Set, rng: np.random.Generator) -> None:
        rows = drawn(one, K, rng).ravel()
        ids = home.teach(one.train[rows], flipped(one.train_labels[rows], share, rng))
        home.learner.retrain()
        home.relabel(ids, one.train_labels[rows])

    return play


def batch(share: float, canaries: int = 0, before: int = K, new: int = K, swap: bool = False) -> Scenario:
    """New examples come, a share of them under wrong labels, or two labels swapped throughout."""

    def play(home: Box, one: Set, rng: np.random.Generator) -> None:
        rows = drawn(one, before + new + canaries, rng)
        old, more, held = (
            rows[:, :before].ravel(),
            rows[:, before : before + new].ravel(),
            rows[:, before + new :].ravel(),
        )
        home.teach(one.train[old], one.train_labels[old])
        home.teach(one.train[held], one.train_labels[held], held_out=True)
        home.learner.retrain()
        labels = one.train_labels[more]
        labels = (
            np.where(labels < 2, 1 - labels, labels) if swap else (flipped(labels, share, rng) if share else labels)
        )
        home.teach(one.train[more], labels)

    return play


def new_label(home: Box, one: Set, rng: np.random.Generator) -> None:
    rows = drawn(one, K, rng)
    last = rng.integers(len(rows))
    if len(rows) < 3:
        return
    old = np.delete(rows, last, axis=0).ravel()
    home.teach(one.train[old], one.train_labels[old])
    home.learner.retrain()
    home.teach(one.train[rows[last]], one.train_labels[rows[last]])


def gate(sets: list[Set], sites: dict[str, Set], seeds: int) -> None:
    scenarios: dict[str, Scenario] = {
        "10 % of the labels turned wrong": wrong_later(0.1),
        "20 % of the labels turned wrong": wrong_later(0.2),
        "40 % of the labels turned wrong": wrong_later(0.4),
        "20 % of the labels turned wrong, 10 held out": wrong_later(0.2, canaries=10),
        "10 % wrong labels mended": mended(0.1),
        "20 % wrong labels mended": mended(0.2),
        "nothing new": batch(0.0, new=0),
        "20 more per label": batch(0.0),
        "20 more, 10 % wrong": batch(0.1),
        "20 more, 50 % wrong": batch(0.5),
        "20 more, all wrong": batch(1.0),
        "40 more, 50 % wrong": batch(0.5, new=40),
        "20 more, two labels swapped": batch(0.0, swap=True),
        "20 more, two labels swapped, 10 held out": batch(0.0, swap=True, canaries=10),
        "20 more, 50 % wrong, 10 held out": batch(0.5, canaries=10),
        "20 more, 50 % wrong, 20 held out": batch(0.5, canaries=20),
        "20 more, 10 held out": batch(0.0, canaries=10),
        "a new label": new_label,
    }
    with_factory: dict[str, Scenario] = {
        "60 per label from the factory, 10 taught here": batch(0.0, before=0, new=10),
        "60 per label from the factory, 10 here, 50 % wrong": batch(0.5, before=0, new=10),
        "60 per label from the factory, 10 here, two swapped": batch(0.0, before=0, new=10, swap=True),
    }
    print(f"\nthe gate, {K} per label at first, {seeds} seeds, {len(sets)} sets; points: true change in accuracy\n")
    print("| what changed | let serve | of these, points | stopped, points | worst let serve | best stopped |")
    print("|---|---|---|---|---|---|")
    for name, play in scenarios.items():
        report(name, play, sets, seeds)
    for name, play in with_factory.items():
        report(name, play, sets, seeds, factory=60)
    if sites:

        def moved(home: Box, one: Set, rng: np.random.Generator) -> None:
            there = sites[one.name]
            rows, more = drawn(one, K, rng).ravel(), drawn(there, K, rng).ravel()
            home.teach(one.train[rows], one.train_labels[rows])
            home.learner.retrain()
            home.teach(there.train[more], there.train_labels[more])

        def elsewhere(home: Box, one: Set, rng: np.random.Generator) -> None:
            home.learner.retrain()
            there = sites[one.name]
            more = drawn(there, 10, rng).ravel()
            home.teach(there.train[more], there.train_labels[more])

        here = [s for s in sets if s.name in sites]
        report("20 more from a camera moved", moved, here, seeds, sites)
        report("60 per label from the factory, 10 from a moved camera", elsewhere, here, seeds, sites, factory=60)


def report(
    name: str, play: Scenario, sets: list[Set], seeds: int, sites: dict[str, Set] | None = None, factory: int = 0
) -> None:
    change: dict[bool, list[float]] = {True: [], False: []}
    for one in sets:
        test = sites[one.name].test if sites else None
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            bundled = drawn(one, factory, rng).ravel() if factory else np.zeros(0, np.int64)
            rest = np.setdiff1d(np.arange(len(one.train)), bundled)
            with box(one, bundled) as home:
                play(home, replace(one, train=one.train[rest], train_labels=one.train_labels[rest]), rng)
                if not home.learner.store.generation_numbers():
                    continue
                before = home.truth(test)
                promoted = home.learner.retrain().promoted
                change[promoted].append(100 * (home.truth(test) - before))
    yes, no = (np.array(change[promoted]) for promoted in (True, False))
    cells = [f"{100 * len(yes) / (len(yes) + len(no)):.0f} %"]
    cells += [f"{part.mean():+.1f}" if len(part) else "–" for part in (yes, no)]
    cells += [f"{yes.min():+.1f}" if len(yes) else "–", f"{no.max():+.1f}" if len(no) else "–"]
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


# learning curve ---------------------------------------------------------------------------------------------------


def curve(sets: list[Set], seeds: int) -> None:
    print("\nwhat twice the examples are worth (points)\n")
    print("| examples per label | told | true | told for the label with most errors | true | at most covers |")
    print("|---|---|---|---|---|---|")
    for k in (10, 20, 40):
        told, true, told_label, true_label, covers = [], [], [], [], []
        for one in sets:
            if np.bincount(one.train_labels).min() < 2 * k:
                continue
            gains, most = [], []
            for seed in range(seeds):
                rows = drawn(one, 2 * k, np.random.default_rng(seed))
                local = Examples(one.train[rows[:, :k].ravel()], named(one.train_labels[rows[:, :k].ravel()]))
                every, (label, alone) = doubled(local, fit(local)).items()
                more = np.concatenate([r if f"{c:03}" == label else r[:k] for c, r in enumerate(rows)])
                before = recall(one, rows[:, :k].ravel())
                told.append(every[1].gain)
                most.append(every[1].most)
                gains.append(recall(one, rows.ravel()) - before)
                told_label.append(alone.gain)
                true_label.append(recall(one, more) - before)
            true += gains
            covers += [np.mean(gains) <= high for high in most]
        cells = [100 * np.mean(v) for v in (told, true, told_label, true_label)]
        print(
            f"| {k} | " + " | ".join(f"{cell:.1f}" for cell in cells) + f" | {100 * np.mean(covers):.0f} % |",
            flush=True,
        )


def recall(one: Set, rows: Array) -> float:
    """Mean recall on photos never taught of the head taught these rows."""
    head = fit(Examples(one.train[rows], named(one.train_labels[rows]))).head
    right = head.scores(one.test).argmax(axis=1) == one.test_labels
    return float(np.mean([right[one.test_labels == c].mean() for c in range(int(one.test_labels.max()) + 1)]))


# time -------------------------------------------------------------------------------------------------------------


def timing(sets: list[Set]) -> None:
    print("\n| an audit of 2,000 examples | features | labels | seconds of CPU |\n|---|---|---|---|")
    done = set()
    for one in sorted(sets, key=lambda s: -int(s.train_labels.max())):
        if one.train.shape[1] in done:
            continue
        done.add(one.train.shape[1])
        x, y = np.concatenate([one.train, one.test])[:2000], np.concatenate([one.train_labels, one.test_labels])[:2000]
        with box(one) as home:
            home.teach(x, y)
            home.learner.retrain()
            spent = []
            for _ in range(5):  # of CPU: on a shared machine the clock on the wall tells of the neighbours
                start = time.process_time()
                home.learner.audit()
                spent.append(time.process_time() - start)
        print(f"| {one.name}, {len(x):,} | {x.shape[1]} | {int(y.max()) + 1} | {np.median(spent):.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "edge-transfer")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", choices=("flips", "gate", "curve", "time"))
    options = parser.parse_args()
    sets = [one for name in BACKBONES for one in photo_sets(name, options.cache)]
    there = [one for name in BACKBONES for one in photo_sets(name, options.cache, site=True)]
    sites = {one.name: site for one, site in zip(sets, there, strict=True)}
    if not sets:
        print("skipped: no ../shared/data beside the project")
        return
    if options.only in (None, "flips"):
        flips(sets, options.seeds)
    if options.only in (None, "gate"):
        gate(sets, sites, max(2, options.seeds // 2))
    if options.only in (None, "curve"):
        curve(sets, max(2, options.seeds // 2))
    if options.only in (None, "time"):
        timing(sets)


if __name__ == "__main__":
    main()
