"""The audit's drawings, as inline SVG and HTML: confusion, map of the examples, learning curve.

The map shows where each example lies among the labels, as seen by a head that was not taught it: the logarithms of its
held-out probabilities, centred, along their two directions of largest spread (principal components).
"""

from html import escape

import numpy as np
from numpy.typing import NDArray

from edge.answers import Audited, LearningCurve
from edge.audit.findings import Audit

DOTS = 2000
_COLOURS = (
    "#4e79a7",
    "#f28e2b",
    "#59a14f",
    "#e15759",
    "#b07aa1",
    "#76b7b2",
    "#edc948",
    "#ff9da7",
    "#9c755f",
    "#86b875",
)
_FLOOR = 1e-30  # probability below which all are alike on the map


def confusion(answer: Audited) -> str:
    """Draw what each label was called, as a table of shades."""
    counts = np.array(answer.confusion, np.int64)
    seen = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    head = "".join(f"<th>{escape(answer.labels[c])}</th>" for c in seen)
    lines = []
    for r in seen:
        label, row = answer.labels[r], counts[r]
        cells = "".join(
            f'<td class="{"hit" if c == r else ""}" style="background:rgba(var(--shade),'
            f'{0.85 * row[c] / max(row.sum(), 1):.2f})" title="{row[c]} of {row.sum()} {escape(label)} named '
            f'{escape(answer.labels[c])}">{row[c] or ""}</td>'
            for c in seen
        )
        lines.append(f"<tr><th>{escape(label)}</th>{cells}</tr>")
    return (
        f'<figure><div class="scroll"><table><thead><tr><th></th>{head}</tr></thead>{"".join(lines)}</table></div>'
        "<figcaption>Rows: what it is. Columns: what it was called, by a head not taught it.</figcaption></figure>"
    )


def map_of_examples(found: Audit) -> str:
    """Draw where each example lies among the labels; "" if there are too few."""
    if found.suspicions is None:
        return ""
    step = -(-len(found.examples) // DOTS)
    measured = [row for row in found.suspicions.order if row % step == 0]
    if len(measured) < 3:
        return ""
    taught = sorted({example.label for example in found.examples})
    places = _places(found.suspicions.probabilities[measured])
    doubted = {s.example: s for s in found.answer.suspects if s.likely}
    width, height, rim = 520.0, 400.0, 18.0
    dots = []
    for row, (x, y) in sorted(
        zip(measured, places.tolist(), strict=True), key=lambda d: found.examples[d[0]].id in doubted
    ):
        example = found.examples[row]
        ring = ' stroke="var(--warn)" stroke-width="2.5"' if example.id in doubted else ""
        tip = f"{example.id}: {example.label}" + (f", looks like {doubted[example.id].guess}" if ring else "")
        dots.append(
            f'<circle cx="{rim + x * (width - 2 * rim):.1f}" cy="{rim + y * (height - 2 * rim):.1f}" '
            f'r="{6 if ring else 4}" fill="{_colour(taught.index(example.label))}" fill-opacity=".8"{ring}>'
            f"<title>{escape(tip)}</title></circle>"
        )
    legend = "".join(
        f'<span><i style="background:{_colour(place)}"></i>{escape(label)}</span>' for place, label in enumerate(taught)
    )
    return (
        f'<figure><svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="Map of the examples">'
        f"{''.join(dots)}</svg><div class='legend'>{legend}</div><figcaption>A map of the examples taught here: what a "
        "head not taught them takes for the same thing lies together. Ringed: those that look mislabelled."
        "</figcaption></figure>"
    )


def learning_curve(curve: LearningCurve, gain: float) -> str:
    """Draw the measured accuracy with its interval, and what twice the examples are expected to add."""
    width, height, left, bottom, top = 520.0, 300.0, 46.0, 40.0, 14.0
    floor = min(0.9, max(0.0, np.floor(10 * min(curve.low)) / 10))  # at 100 %, too, the axis has a length
    first, last = np.log(curve.sizes[0]), np.log(2 * curve.sizes[-1])

    def at(size: float, accuracy: float) -> str:
        x = left + (np.log(size) - first) / (last - first) * (width - left - 14)
        y = top + (1 - (min(accuracy, 1.0) - floor) / (1 - floor)) * (height - top - bottom)
        return f"{x:.1f},{y:.1f}"

    parts = []
    for tick in np.arange(floor, 1.001, 0.1 if floor >= 0.4 else 0.2):
        x, y = at(curve.sizes[0], tick).split(",")
        parts.append(f'<path d="M{left},{y}H{width - 14}" stroke="var(--line)"/>')
        parts.append(f'<text x="{left - 8}" y="{float(y) + 4}" text-anchor="end">{100 * tick:.0f} %</text>')
    band = [*map(at, curve.sizes, curve.high), *map(at, curve.sizes[::-1], curve.low[::-1])]
    parts.append(f'<polygon points="{" ".join(band)}" fill="rgba(var(--shade),.18)"/>')
    sizes = (*curve.sizes, 2 * curve.sizes[-1])
    dots = list(map(at, sizes, (*curve.accuracy, curve.accuracy[-1] + gain)))
    for line, dash in ((dots[:-1], ""), (dots[-2:], ' stroke-dasharray="5 5"')):
        parts.append(f'<polyline points="{" ".join(line)}" fill="none" stroke="var(--accent)" stroke-width="2"{dash}/>')
    for size, dot in zip(sizes, dots, strict=True):
        x = dot.split(",")[0]
        parts.append(f'<text x="{x}" y="{height - bottom + 18}" text-anchor="middle">{size:.0f}</text>')
    for accuracy, dot in zip(curve.accuracy, dots, strict=False):
        x, y = dot.split(",")
        tip = f"<title>{100 * accuracy:.1f} %</title>"
        parts.append(f'<circle cx="{x}" cy="{y}" r="4.5" fill="var(--accent)">{tip}</circle>')
    middle = (left + width - 14) / 2
    parts.append(f'<text x="{middle}" y="{height - 4}" text-anchor="middle">examples per label taught here</text>')
    return (
        f'<figure><svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="Learning curve">{"".join(parts)}'
        "</svg><figcaption>Fraction of pictures classified correctly by heads trained without them, with 95 "
        "% interval. The last dot is today; the dashed line is where it should go.</figcaption></figure>"
    )


def _places(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2) in 0–1: principal components of the centred logarithms, ends cut at one example in a hundred."""
    logs = np.log(np.maximum(probabilities, _FLOOR))
    logs -= logs.mean(axis=1, keepdims=True)
    logs -= logs.mean(axis=0)
    axes = np.linalg.svd(logs, full_matrices=False)[2]
    places = logs @ axes[:2].T
    if places.shape[1] < 2 or np.ptp(places[:, 1]) < 1e-9:  # two labels differ in one direction: spread the other out
        order = np.arange(len(places)) * 0.618034 % 1  # evenly
        places = np.column_stack([places[:, 0], order])
    low, high = np.percentile(places, [1, 99], axis=0)
    spread: NDArray[np.float64] = np.clip((places - low) / np.maximum(high - low, 1e-9), 0, 1)
    return spread


def _colour(place: int) -> str:
    return _COLOURS[place] if place < len(_COLOURS) else f"hsl({place * 137 % 360} 55% 55%)"
