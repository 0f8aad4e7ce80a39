"""`make bench-trust`: does it know what it does not know, and see a wrong picture? In one run, against the usual gates.

    python -m benchmarks.trust [--cache DIR] [--seeds 10] [--only unknown|coverage|domain|cost]

Unknown: heads are taught 20 examples of all labels but one; of that one's photos, and of random pictures, the share
that is taken for known. Our threshold comes from the taught examples alone; every rival is given the threshold that
keeps exactly as many of the *test* photos of known labels as ours does, which no device could know. The two-label sets
have no label to spare: there, photos of the other sets are the unknown. Coverage: what share of known photos is kept,
by number of examples. Domain: test photos as they are and spoilt, words by a domain of training photos. Cost: a warm
classification with the gate over one without, as the median of paired ratios.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.embeddings import BACKBONES, SHARED, Set, embed, network, photo_sets
from benchmarks.heads import named
from benchmarks.peers import peers
from edge.head.fit import Examples, fit
from edge.head.linear import unit
from edge.picture import preprocess
from edge.picture.find import find
from edge.unknown.domain import Domain, complaints, look
from edge.unknown.fit_gate import fit_gate
from edge.unknown.gate import Background, Detector
from export.bundle.background import shipped
from export.network import backbones
from export.network.form import fingerprint

Array = Any
Score = Callable[[Array], Array]  # embeddings (N, D) → (N,), larger is more surely known

SOFTMAX = ("Coral SGD softmax", "Teachable Machine", "Frigate", "logistic C=10")
KNOWN, RANDOM = 20, 500  # examples a label; random pictures


@dataclass(frozen=True)
class Bench:
    """One backbone: its sets, its embeddings of random pictures, its background."""

    name: str
    sets: list[Set]
    random: Array
    background: Background


@dataclass(frozen=True)
class Episode:
    """One set, taught without one label: examples x, y; known test photos; unknown ones."""

    set: str
    x: Array
    y: Array
    known: Array
    unknown: Array


def episodes(bench: Bench, k: int, seeds: int) -> Iterator[Episode]:
    for one in bench.sets:
        classes = int(one.train_labels.max()) + 1
        others = np.concatenate([other.test for other in bench.sets if other is not one])
        for seed in range(seeds):
            for out in range(classes) if classes > 2 else (-1,):
                rng = np.random.default_rng([seed, out + 1])
                taught = [c for c in range(classes) if c != out]
                rows = np.concatenate([rng.permutation(np.flatnonzero(one.train_labels == c))[:k] for c in taught])
                known = one.test_labels != out
                unknown = one.test[~known] if out >= 0 else others[rng.permutation(len(others))[:300]]
                y = np.searchsorted(taught, one.train_labels[rows])
                yield Episode(one.name.split("/")[-1], one.train[rows], y, one.test[known], unknown)


def ours(episode: Episode, background: Background) -> tuple[Score, float]:
    """Our similarity and its threshold."""
    examples = Examples(episode.x, named(episode.y))
    labels, counted = tuple(sorted(set(examples.labels))), np.ones(len(examples), bool)
    gate = fit_gate(lambda: [examples], None, labels, background, counted)
    assert gate is not None
    judge = Detector(gate, background)
    return lambda v: np.array([judge.similarity(x) for x in v]), gate.threshold


def softmax_gate(name: str, seed: int) -> Callable[[Episode], Score]:
    """The largest probability of a peer's head."""

    def train(episode: Episode) -> Score:
        if name == "logistic C=10":
            from sklearn.linear_model import LogisticRegression

            model = LogisticRegression(C=10, max_iter=300, tol=1e-3).fit(unit(episode.x), episode.y)
            return lambda v: model.predict_log_proba(unit(v)).max(1)
        predict = peers()[name](episode.x, episode.y, unit(episode.x), seed)
        return lambda v: log_softmax(predict.logits(v)).max(1)

    return train


def energy_gate(episode: Episode) -> Score:
    """Liu et al., "Energy-based out-of-distribution detection", NeurIPS 2020, on Coral SGD's logits."""
    predict = peers()["Coral SGD softmax"](episode.x, episode.y, unit(episode.x), 0)

    def score(v: Array) -> Array:
        z = predict.logits(v).astype(np.float64)
        return z.max(1) + np.log(np.exp(z - z.max(1, keepdims=True)).sum(1))

    return score


def own_head(episode: Episode) -> Score:
    head = fit(Examples(episode.x, named(episode.y))).head
    return lambda v: log_softmax(head.scores(v) / head.temperature).max(1)


def cosine_gate(episode: Episode) -> Score:
    u = unit(episode.x)
    means = unit(np.stack([u[episode.y == c].mean(0) for c in range(episode.y.max() + 1)]))
    return lambda v: (unit(v) @ means.T).max(1)


def neighbour_gate(episode: Episode) -> Score:
    """Sun et al., "Out-of-distribution detection with deep nearest neighbors", ICML 2022; k = 1."""
    u = unit(episode.x)
    return lambda v: (unit(v) @ u.T).max(1)


def mahalanobis_gate(episode: Episode) -> Score:
    """Lee et al., NeurIPS 2018; the pooled covariance shrunk as Ledoit & Wolf (2004) do, since n < D."""
    from sklearn.covariance import ledoit_wolf

    u = unit(episode.x).astype(np.float64)
    means = np.stack([u[episode.y == c].mean(0) for c in range(episode.y.max() + 1)])
    covariance, _ = ledoit_wolf(u - means[episode.y], assume_centered=True)
    factor = np.linalg.cholesky(np.linalg.inv(covariance + 1e-9 * np.eye(len(covariance))))
    at = means @ factor

    def score(v: Array) -> Array:
        z = unit(v).astype(np.float64) @ factor
        return -((z * z).sum(1)[:, None] - 2 * z @ at.T + (at * at).sum(1)).min(1)

    return score


def log_softmax(z: Array) -> Array:
    z = z.astype(np.float64)
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def unknown(bench: Bench, seeds: int) -> None:
    rivals: dict[str, Callable[[int], Callable[[Episode], Score]]] = {
        **{f"{name}": (lambda seed, name=name: softmax_gate(name, seed)) for name in SOFTMAX},
        "our head's probability": lambda _: own_head,
        "energy": lambda _: energy_gate,
        "cosine to label mean": lambda _: cosine_gate,
        "nearest neighbour": lambda _: neighbour_gate,
        "Mahalanobis": lambda _: mahalanobis_gate,
    }
    shares: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    kept: dict[str, list[float]] = defaultdict(list)
    for number, episode in enumerate(episodes(bench, KNOWN, seeds)):
        score, threshold = ours(episode, bench.background)
        coverage = float((score(episode.known) >= threshold).mean())
        kept[episode.set].append(coverage)
        gates: dict[str, tuple[Score, float | None]] = {"edge": (score, threshold)}
        gates |= {name: (make(number)(episode), None) for name, make in rivals.items()}
        for name, (gate, at) in gates.items():
            known = gate(episode.known)
            for kind, pictures in (("unseen", episode.unknown), ("random", bench.random)):
                values = gate(pictures)
                shares[name][f"{kind} {episode.set}"].append(
                    float((values >= at).mean()) if at is not None else accepted(known, values, coverage)
                )
        if number % 20 == 0:
            print(f"{bench.name}: {number} episodes", file=sys.stderr, flush=True)
    names = [one.name.split("/")[-1] for one in bench.sets]
    print(
        f"\n{bench.name}: % taken for known, {100 * np.mean([np.mean(v) for v in kept.values()]):.1f} % of known kept"
    )
    print("(" + ", ".join(f"{name} {100 * np.mean(kept[name]):.1f}" for name in names) + ")\n")
    print("| gate | unseen | " + " | ".join(names) + " | random | " + " | ".join(names) + " |")
    print("|" + "---|" * (3 + 2 * len(names)))
    for name in shares:
        cells = []
        for kind in ("unseen", "random"):
            each = [100 * float(np.mean(shares[name][f"{kind} {one}"])) for one in names]
            cells += [f"**{np.mean(each):.1f}**", *(f"{value:.1f}" for value in each)]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def accepted(known: Array, unknown: Array, coverage: float) -> float:
    """Share of the unknown that a score accepts at the threshold that keeps `coverage` of the known; ties by share."""
    order = np.sort(known)[::-1]
    at = order[max(0, round(coverage * len(order)) - 1)]
    above, tied = (known > at).mean(), (known == at).mean()
    part = np.clip((coverage - above) / tied, 0, 1)
    return float((unknown > at).mean() + part * (unknown == at).mean())


def coverage(bench: Bench, seeds: int) -> None:
    print(f"\n{bench.name}: % of known photos kept at a nominal 95 %; taken for known: unseen label or set, random\n")
    names = [one.name.split("/")[-1] for one in bench.sets]
    print("| examples a label | mean | " + " | ".join(names) + " | unseen | random |\n|" + "---|" * (4 + len(names)))
    for k in (2, 3, 5, 10, 20, 50, 1000):
        kept, wrong = defaultdict(list), defaultdict(list)
        for episode in episodes(bench, k, seeds if k < 100 else 1):
            score, threshold = ours(episode, bench.background)
            kept[episode.set].append(float((score(episode.known) >= threshold).mean()))
            for kind, pictures in (("unseen", episode.unknown), ("random", bench.random)):
                wrong[kind, episode.set].append(float((score(pictures) >= threshold).mean()))
        each = [100 * float(np.mean(kept[name])) for name in names]
        rest = [100 * np.mean([np.mean(wrong[kind, name]) for name in names]) for kind in ("unseen", "random")]
        cells = [f"**{np.mean(each):.1f}**", *(f"{v:.1f}" for v in each), *(f"{v:.1f}" for v in rest)]
        print(f"| {k if k < 1000 else 'all'} | " + " | ".join(cells) + " |", flush=True)


def spoilt(pixels: Array, rng: np.random.Generator) -> Iterator[tuple[str, str, Array]]:
    """(what was done, the right word, pixels) for a 224-pixel photo."""
    from PIL import Image, ImageFilter

    yield "clean", "", pixels
    yield "35 % brightness", "too dark", np.asarray(0.35 * pixels + 0.5, np.uint8)
    yield "blurred, σ = 4", "blurred", np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(4)))
    for deviation in (15, 25):
        grain = rng.normal(0, deviation, pixels.shape)
        yield f"noise, σ = {deviation}", "noisy", np.asarray(np.clip(pixels + grain + 0.5, 0, 255), np.uint8)
    yield "2.5 × brightness", "too bright", np.asarray(np.clip(2.5 * pixels, 0, 255), np.uint8)
    yield "30 % contrast", "low contrast", np.asarray(0.3 * pixels + 0.7 * pixels.mean() + 0.5, np.uint8)


def domain(most: int = 300) -> None:
    named: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    folders = sorted(path.parent for path in (SHARED / "data").glob("*/train"))
    for folder in folders:
        rng = np.random.default_rng(0)
        train, test = (
            [files[i] for i in rng.permutation(len(files))[:most]]
            for files in (find([folder / "train"]).files, find([folder / "val"]).files)
        )
        usual = Domain.of(np.stack([look(preprocess.load(file)).statistics for file in train]))
        for file in test:
            for what, word, pixels in spoilt(preprocess.load(file), rng):
                words = {complaint.word for complaint in complaints(look(pixels).statistics, usual)}
                named[what][folder.name].append(word in words if word else not words)
    print("\nDomain: % of frames named rightly (of clean ones: left alone)\n")
    print("| frame | mean | " + " | ".join(folder.name for folder in folders) + " |\n|" + "---|" * (2 + len(folders)))
    for what, sets in named.items():
        each = [100 * float(np.mean(sets[folder.name])) for folder in folders]
        print(f"| {what} | **{np.mean(each):.1f}** | " + " | ".join(f"{value:.1f}" for value in each) + " |")


def cost(rounds: int = 300) -> None:
    """A warm classification of one photo, file to answer, with the gate and without."""
    from dataclasses import replace

    from edge.learner import Learner
    from export.bundle.build import build
    from export.bundle.plan import Plan
    from export.photos.sample import write_sample

    class Silent:
        def doing(self, what: str) -> None: ...
        def step(self, done: int, total: int) -> None: ...
        def said(self, line: str) -> None: ...

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sample(folder / "sample")
        plan = Plan(
            folder / "sample" / "photos",
            folder / "a.edge",
            "2026-01-01T00:00:00+00:00",
            precisions=("fp32",),
            runtimes=("onnx",),
        )
        build(plan, Silent())
        photo = [next((folder / "sample" / "test").rglob("*.jpg"))]
        with Learner.init(folder / "home", folder / "a.edge") as learner:
            with_gate = learner.serving()
            version, _ = learner._serving  # type: ignore[misc]
            pairs = []
            for _ in range(rounds):
                spent = []
                for serving in (with_gate, replace(with_gate, detector=None)):
                    learner._serving = version, serving
                    start = time.perf_counter()
                    next(iter(learner.classify_each(photo)))
                    spent.append(time.perf_counter() - start)
                pairs.append(spent)
            look_spent = []
            pixels = preprocess.load(photo[0])
            for _ in range(100):
                start = time.perf_counter()
                look(pixels)
                look_spent.append(time.perf_counter() - start)
        ratio = statistics.median(a / b for a, b in pairs)
        bare = 1000 * statistics.median(b for _, b in pairs)
        print(f"\nCost: a warm classify takes {ratio:.3f} times as long with the gate (without: {bare:.2f} ms)")
        print(f"measuring one picture for the domain check: {1000 * statistics.median(look_spent):.2f} ms")


def benches(cache: Path) -> Iterator[Bench]:
    files = find([SHARED / "data" / "imagenet_sample1000"]).files[:: 1000 // RANDOM]
    for name in BACKBONES:
        loaded, row = network(name), backbones.find(name)
        found = shipped(fingerprint(loaded.embedder, row.size, crop=row.crop))
        if found is None:
            print(
                f"{name}: its background is of other weights; run: python -m export.bundle.background", file=sys.stderr
            )
        background = found.background if found else Background.none(row.embedding)
        yield Bench(name, photo_sets(name, cache), embed(name, "random", files, cache), background)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "edge-bench")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", choices=["unknown", "coverage", "domain", "cost"])
    parser.add_argument("--backbone", choices=BACKBONES)
    options = parser.parse_args()
    wanted = [options.only] if options.only else ["unknown", "coverage", "domain", "cost"]
    if not (SHARED / "data").is_dir():
        print(f"no photo sets at {SHARED / 'data'}: only the cost can be measured", file=sys.stderr)
        wanted = [part for part in wanted if part == "cost"]
    for bench in benches(options.cache) if {"unknown", "coverage"} & set(wanted) else ():
        if options.backbone and bench.name != options.backbone:
            continue
        if "unknown" in wanted:
            unknown(bench, options.seeds)
        if "coverage" in wanted:
            coverage(bench, options.seeds)
    if "domain" in wanted:
        domain()
    if "cost" in wanted:
        cost()


if __name__ == "__main__":
    main()
