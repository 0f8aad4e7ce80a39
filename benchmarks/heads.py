"""`make bench-heads`: our head and its peers on the same embeddings, in one run and one table.

    python -m benchmarks.heads [--cache DIR] [--seeds 20] [--only accuracy|honesty|time|site]

Accuracy: mean held-out accuracy (%) over sets and draws for k examples per label, the milliseconds of CPU of one
training, and on each set our lead over the peer that is best there. `imbalanced`: labels have 2 to 40 examples,
accuracy is the mean recall. `noise`: 20 per label, one in five of them under a wrong name. Honesty: leave-one-out
against the truth.
Site: factory examples from the photos, local ones from the same photos as a badly placed camera sees them.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.embeddings import BACKBONES, Set, photo_sets
from benchmarks.peers import peers
from edge.head.fit import Examples, fit
from edge.head.linear import unit
from edge.metrics.evaluate import evaluate

KINDS = ("1", "2", "5", "10", "20", "all", "imbalanced", "noise")
Array = Any


def named(columns: Array) -> tuple[str, ...]:
    return tuple(f"{column:03}" for column in columns)


def draw(kind: str, y: Array, seed: int) -> tuple[Array, Array]:
    """Rows of the training set and the labels they are taught under."""
    rng, classes = np.random.default_rng(seed), int(y.max()) + 1
    counts = {"all": [len(y)] * classes, "noise": [20] * classes}.get(kind)
    if kind == "imbalanced":
        counts = rng.permutation(np.round(np.geomspace(2, 40, classes)).astype(int)).tolist()
    counts = counts or [int(kind)] * classes
    rows = np.concatenate([rng.permutation(np.flatnonzero(y == k))[: counts[k]] for k in range(classes)])
    taught = y[rows].copy()
    if kind == "noise":
        wrong = rng.permutation(len(rows))[: len(rows) // 5]
        taught[wrong] = (taught[wrong] + rng.integers(1, classes, len(wrong))) % classes
    return rows, taught


def how_many(kind: str, seeds: int) -> int:
    """Few examples need many draws; of all of them there is one, but networks learn it with luck."""
    return {"1": seeds, "2": seeds, "5": seeds, "10": seeds // 2, "20": seeds // 2}.get(kind, max(1, seeds // 4))


def ours(x: Array, y: Array, u: Array, seed: int) -> Any:
    head = fit(Examples(x, named(y))).head
    return lambda v, _: head.scores(v).argmax(1)


def accuracy(sets: list[Set], seeds: int) -> None:
    table: dict[tuple[str, str, str], list[float]] = defaultdict(list)  # method, kind, set: one figure per seed
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    methods = {"edge": ours} | peers()
    for kind in KINDS:
        for one in sets:
            u, v = unit(one.train).astype(np.float64), unit(one.test).astype(np.float64)
            for (name, method), seed in itertools.product(methods.items(), range(how_many(kind, seeds))):
                rows, taught = draw(kind, one.train_labels, seed)
                start = time.process_time()
                try:
                    predict = method(one.train[rows], taught, u[rows], seed)
                except ValueError:  # this method cannot learn from so few
                    continue
                took[name, kind].append(1000 * (time.process_time() - start))
                right = predict(one.test, v) == one.test_labels
                recall = [right[one.test_labels == k].mean() for k in range(int(one.test_labels.max()) + 1)]
                table[name, kind, one.name].append(100 * float(np.mean(recall if kind == "imbalanced" else right)))
        print(f"{kind} done after {time.process_time():.0f} s of CPU", file=sys.stderr, flush=True)

    def cell(name: str, kind: str, of: list[Set]) -> str:
        means = [np.mean(table[name, kind, one.name]) for one in of if table[name, kind, one.name]]
        return f"{np.mean(means):.1f}" if means else "–"

    draws = ", ".join(f"{kind}: {how_many(kind, seeds)}" for kind in KINDS)
    print(f"\nMean held-out accuracy (%) over {len(sets)} sets; draws of the examples: {draws}\n")
    print("| head | " + " | ".join(KINDS) + " | ms at 20 | ms at all |\n|" + "---|" * (len(KINDS) + 3))
    for name in methods:
        cells = [cell(name, kind, sets) for kind in KINDS]
        times = [f"{np.median(took[name, kind]):.1f}" if took[name, kind] else "–" for kind in ("20", "all")]
        print(f"| {name} | " + " | ".join(cells + times) + " |")
    print("\nOur accuracy on each set (its lead over the peer that is best there)\n")
    print("| set | " + " | ".join(KINDS) + " |\n|" + "---|" * (len(KINDS) + 1))
    for one in sets:
        cells = []
        for kind in KINDS:
            rivals = {name: np.mean(table[name, kind, one.name]) for name in peers() if table[name, kind, one.name]}
            best = max(rivals, key=lambda name: rivals[name])
            mine = np.mean(table["edge", kind, one.name])
            cells.append(f"{mine:.1f} ({mine - rivals[best]:+.1f} {best})")
        print(f"| {one.name} | " + " | ".join(cells) + " |")


def calibration_error(probabilities: Any, truth: tuple[str, ...], labels: tuple[str, ...], bins: int = 15) -> float:
    """Expected calibration error over bins of equal width (fifteen, as Guo et al. 2017)."""
    confidence = probabilities.max(axis=1)
    right = np.array(labels)[probabilities.argmax(axis=1)] == np.array(truth)
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    return float(np.abs(np.bincount(place, confidence - right, bins)).sum() / right.size)


def honesty(sets: list[Set], seeds: int) -> None:
    """What is told of a head against what a test set says; the floor is a head whose probabilities are true."""
    print("\n| examples per label | told − true (points) | 95 % interval covers | calibration error | floor |", end="")
    print(" over all draws | floor |\n|---|---|---|---|---|---|---|")
    for kind in ("5", "10", "20", "all"):
        alone, together = [], []
        for one in sets:
            tables, truths, picks = [], [], []
            for seed in range(how_many(kind, seeds)):
                rows, taught = draw(kind, one.train_labels, seed)
                result = fit(Examples(one.train[rows], named(taught)))
                told = evaluate(result.loo, named(taught), result.head.labels)
                tables.append(p := result.head.probabilities(one.test))
                truths.append(truth := named(one.test_labels))
                drawn = (np.random.default_rng(seed).random((len(p), 1)) < np.cumsum(p, 1)).argmax(1)
                picks.append(pick := named(drawn))
                true = evaluate(p, truth, result.head.labels)
                covered = told.interval[0] <= true.accuracy <= told.interval[1]
                error, floor = (calibration_error(p, names, result.head.labels) for names in (truth, pick))
                alone.append((told.accuracy - true.accuracy, covered, error, floor))
            pooled = [
                calibration_error(np.concatenate(tables), sum(names, ()), result.head.labels)
                for names in (truths, picks)
            ]
            together.append(pooled)
        gap, covered, error, floor = np.mean(alone, 0)
        row = [f"{100 * gap:+.1f}", f"{100 * covered:.0f} %", f"{error:.3f}", f"{floor:.3f}"]
        print(
            f"| {kind} | " + " | ".join([*row, *(f"{value:.3f}" for value in np.mean(together, 0))]) + " |", flush=True
        )


def timing(sets: list[Set]) -> None:
    """Medians of runs in turn, in milliseconds of CPU: the clock on the wall tells of the neighbours."""
    from sklearn.linear_model import LogisticRegressionCV

    from edge.head.moments import Moments

    print("\n| 1,000 examples, 10 labels | bare eigh, ms | fit, ms | ratio | LogisticRegressionCV, ms | one more, ms |")
    print("|---|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for one in sets:
        if len(one.train) < 1000 or one.train_labels.max() != 9:
            continue
        rows, y = draw("100", one.train_labels, 0)
        examples, u = Examples(one.train[rows], named(y)), unit(one.train[rows]).astype(np.float64)
        square = rng.normal(size=(min(u.shape),) * 2)
        square = square + square.T
        pairs = [(spent(np.linalg.eigh, square), spent(fit, examples)) for _ in range(15)]
        bare, mine = np.median(pairs, 0)
        ratio = np.median([ours / theirs for theirs, ours in pairs])
        cross = spent(LogisticRegressionCV(max_iter=1000).fit, u, y)  # its own 100 steps do not converge
        moments = Moments.of(examples.embeddings, examples.labels)
        more = np.median([spent(lambda m, x: m + Moments.of(x, ["003"]), moments, one.train[:1]) for _ in range(50)])
        print(
            f"| {one.name}, {u.shape[1]} | {bare:.0f} | {mine:.0f} | {ratio:.2f} | {cross:.0f} | {more:.2f} |",
            flush=True,
        )


def spent(function: Any, *arguments: Any) -> float:
    """Milliseconds of CPU."""
    start = time.process_time()
    function(*arguments)
    return 1000 * (time.process_time() - start)


def site(cache: Path, seeds: int) -> None:
    print("\n| set | local per label | factory only | local only | all equal | chosen | weight | below the best |")
    print("|---|---|---|---|---|---|---|---|")
    means = []
    for here, there in zip(*(photo_sets(BACKBONES[0], cache, moved) for moved in (False, True)), strict=True):
        factory = Examples(here.train, named(here.train_labels))
        only = fit(factory)
        for k in ("0", "2", "5", "10", "20"):
            cells = []
            for seed in range(1 if k == "0" else how_many("5", seeds)):
                rows, taught = draw(k, there.train_labels, seed)
                local = Examples(there.train[rows], named(taught))
                equal = Examples(np.concatenate([local.embeddings, factory.embeddings]), local.labels + factory.labels)
                chosen = fit(local, factory)
                heads = [only, fit(local) if k != "0" else only, fit(equal), chosen]
                right = [100 * np.mean(f.head.scores(there.test).argmax(1) == there.test_labels) for f in heads]
                cells.append([*right, chosen.factory_weight])
            row = np.mean(cells, 0)
            means.append(row)
            figures = " | ".join(f"{value:.1f}" for value in row[:4])
            print(f"| {there.name} | {k} | {figures} | {row[4]:.2f} | {max(row[:3]) - row[3]:+.1f} |", flush=True)
    print("| mean | | " + " | ".join(f"{value:.2f}" for value in np.mean(means, 0)[:4]) + " | | |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "edge-transfer")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", choices=("accuracy", "honesty", "time", "site"))
    warnings.simplefilter("ignore")  # scikit-learn says where lbfgs stopped early
    options = parser.parse_args()
    sets = [one for name in BACKBONES for one in photo_sets(name, options.cache)]
    if not sets:
        print("skipped: no ../shared/data beside the project")
        return
    if options.only in (None, "time"):
        timing(sets)
    if options.only in (None, "honesty"):
        honesty(sets, options.seeds)
    if options.only in (None, "site"):
        site(options.cache, options.seeds)
    if options.only in (None, "accuracy"):
        accuracy(sets, options.seeds)


if __name__ == "__main__":
    main()
