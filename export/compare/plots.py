"""The charts of the reports, drawn by matplotlib as SVG text that a page can contain."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, QUIET, ACCENT = "#222222", "#9aa5b1", "#0b6e99"
LINES = ("#0b6e99", "#c2571a", "#5a7d2b", "#7a4ea3")


@dataclass(frozen=True)
class Bar:
    """One bar: a name, a fraction, its interval if known, and whether it is highlighted."""

    name: str
    share: float
    interval: tuple[float, float] | None = None
    chosen: bool = False


@dataclass(frozen=True)
class Line:
    """One learning curve: passes and shares (n,)."""

    name: str
    passes: Sequence[float]
    shares: Sequence[float]


@dataclass(frozen=True)
class Dot:
    """One network: its name, milliseconds per picture, accuracy, and whether it is the recommended one."""

    name: str
    milliseconds: float
    share: float
    chosen: bool = False


def bars(rows: Sequence[Bar]) -> str:
    """Horizontal bars of shares, their 95 % intervals as whiskers."""
    figure, axes = _figure(6.4, 0.5 + 0.42 * len(rows))
    low = min([row.share for row in rows] + [row.interval[0] for row in rows if row.interval])
    left = max(0.0, np.floor(10 * low - 0.5) / 10)
    for place, row in enumerate(rows):
        axes.barh(-place, 100 * (row.share - left), 0.62, 100 * left, color=ACCENT if row.chosen else QUIET)
        right = row.share
        if row.interval:
            axes.plot([100 * end for end in row.interval], [-place, -place], color=INK, linewidth=1)
            right = max(right, row.interval[1])
        axes.text(100 * right + 1, -place, f"{100 * row.share:.1f} %", va="center", fontsize=10)
    axes.set_yticks([-place for place in range(len(rows))], [row.name for row in rows])
    axes.set_xlim(100 * left, 112)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    return _svg(figure)


def curves(lines: Sequence[Line]) -> str:
    """Validation accuracy by passes over the training photos."""
    figure, axes = _figure(6.4, 3.0)
    for line, colour in zip(lines, LINES, strict=False):
        axes.plot(
            line.passes, [100 * share for share in line.shares], "o-", color=colour, markersize=4, label=line.name
        )
    axes.set_xlabel("passes over the photos")
    axes.set_ylabel("validation accuracy, %")
    axes.grid(axis="y", color="#e5e8eb")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, loc="best")
    return _svg(figure)


def confusion(matrix: NDArray[np.int64], labels: Sequence[str]) -> str:
    """A matrix of counts: a row for each true label, a column for each answer."""
    side = min(1.6 + 0.5 * len(labels), 9.0)
    figure, axes = _figure(side + 1.0, side)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks, short = range(len(labels)), [label if len(label) <= 14 else label[:13] + "…" for label in labels]
    axes.set_xticks(ticks, short, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, short)
    axes.set_xlabel("was called")
    axes.set_ylabel("is")
    if len(labels) <= 20:
        for row in ticks:
            for column in ticks:
                count = int(matrix[row, column])
                colour = "white" if shares[row, column] > 0.6 else INK
                axes.text(column, row, str(count) if count else "·", ha="center", va="center", color=colour)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    return _svg(figure)


def accuracy_against_latency(dots: Sequence[Dot]) -> Figure:
    """Networks by time and accuracy; up and to the left is better."""
    figure, axes = _figure(6.4, 4.0)
    for dot in dots:
        axes.scatter(dot.milliseconds, 100 * dot.share, s=45, color=ACCENT if dot.chosen else QUIET, zorder=2)
        weight = "bold" if dot.chosen else "normal"
        where = dot.milliseconds, 100 * dot.share
        axes.annotate(dot.name, where, xytext=(6, 5), textcoords="offset points", fontsize=9, weight=weight)
    axes.set_xlabel("milliseconds a picture, on one core here")
    axes.set_ylabel("leave-one-out accuracy, %")
    axes.grid(color="#e5e8eb", zorder=0)
    axes.set_xlim(0, 1.4 * max(dot.milliseconds for dot in dots))
    low, high = (100 * end(dot.share for dot in dots) for end in (min, max))
    axes.set_ylim(max(0, low - 3), min(101, high + 3))
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    """An empty figure of some inches, in the reports' style."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "edge", "font.family": "sans-serif", "font.size": 10})
    figure = Figure((width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    """The figure as an element of a page: the same figure gives the same text."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
