"""report.html: one self-contained page for a person who knows photos.

It shows first what was kept and how good it is, then why, then its mistakes, then what to do next.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.metrics.evaluate import wilson, worst
from edge.text import percent
from export.adapt.outcome import Adapted, Outcome
from export.compare import plots

WORST = 12  # photos shown
THUMBNAIL = 132  # pixels

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "Segoe UI", sans-serif; color: #222; }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
.quiet { color: #66707a; font-size: .9rem; }
.figure { font-size: 2.6rem; font-weight: 600; color: #0b6e99; line-height: 1.1; }
.verdict { background: #f2f7fa; border-left: 4px solid #0b6e99; padding: 1rem 1.2rem; margin: 1.2rem 0; }
.warning { background: #fdf4ec; border-left: 4px solid #c2571a; padding: .8rem 1.2rem; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; } th { text-align: left; font-weight: 600; }
th, td { padding: .35rem .6rem .35rem 0; border-bottom: 1px solid #e5e8eb; vertical-align: top; }
td.n, th.n { text-align: right; white-space: nowrap; } tr.kept { font-weight: 600; }
td:first-child, code { white-space: nowrap; } svg { max-width: 100%; height: auto; }
code { background: #f0f2f4; padding: .1rem .3rem; border-radius: 3px; }
.photos { display: flex; flex-wrap: wrap; gap: 14px; }
figure { margin: 0; width: 132px; font-size: .82rem; line-height: 1.3; }
figure img { border-radius: 4px; display: block; margin-bottom: .3rem; } figcaption { overflow-wrap: anywhere; }
"""


def report(result: Adapted) -> str:
    """Return the page, as HTML that needs no other file and no network."""
    adaptation, evaluation = result.adaptation, result.evaluation
    low, high = (percent(end) for end in evaluation.interval)
    summary = next(o.strategy.summary for o in result.outcomes if o.strategy.name == result.kept)
    what = "the network was left as it was" if result.kept == "head" else f"what changed: {summary}"
    parts = [
        f"<h1>{_e(adaptation.backbone)}, adapted to your photos</h1>",
        f'<p class="quiet">{_e(adaptation.photos)} · {len(result.held)} photos of {len(result.material.labels)} labels'
        f" · {_e(adaptation.created)}</p>",
        f'<div class="verdict"><div class="figure">{percent(evaluation.accuracy)}</div>'
        f"of the {evaluation.examples} validation photos are classified correctly (95 % interval {low} to {high}).<br>"
        f"Kept: <b>{_e(result.kept)}</b>; {_e(what)}.</div>",
        f"<p>Why: {_e(result.why)}.{_caveat(result)}</p>",
        *_warnings(result),
        "<h2>What was tried</h2>",
        plots.bars(_bars(result)),
        _table(result),
    ]
    lines = [line for outcome in result.outcomes for line in _lines(outcome)]
    if lines:
        parts += [
            "<h2>While it learned</h2>",
            plots.curves(lines),
            '<p class="quiet">The network is trained twice, on one half of the photos each, and the mean of the two is '
            "used. Before the first pass it is as it was. What is kept of each is where the validation photos were "
            "classified most surely, which need not be the last point or the highest.</p>",
        ]
    parts += [
        "<h2>What is taken for what</h2>",
        plots.confusion(evaluation.confusion, evaluation.labels),
        '<p class="quiet">Of the photos held out: a row for what it is, a column for what it was called.</p>',
        *_worst_photos(result),
        "<h2>Is pretraining worth anything here?</h2>",
        *_baselines(result),
        "<h2>What next</h2>",
        "<ul>",
        *[f"<li>{line}</li>" for line in _next_steps(result)],
        "</ul>",
        f'<p class="quiet">Weights: began with {_e(adaptation.origin)} ({_e(adaptation.licence)}). '
        f"{_e(adaptation.program)}, seed {adaptation.report['seed']}.</p>",
    ]
    title = f"{_e(adaptation.backbone)} adapted"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    body = "\n".join(parts)
    return f"<!doctype html>\n<html lang=en><head>{head}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"


def _bars(result: Adapted) -> list[plots.Bar]:
    rows = []
    for outcome in result.outcomes:
        if outcome.measured is not None:
            right = outcome.measured.right[outcome.measured.held]
            interval = wilson(int(right.sum()), len(right))
            rows.append(plots.Bar(outcome.strategy.name, float(right.mean()), interval, _is_kept(result, outcome)))
    return rows


def _table(result: Adapted) -> str:
    rows = [
        "<table><tr><th>strategy<th>what changes<th class=n>right<th class=n>minutes"
        "<th class=n>changed<th>how it went</tr>"
    ]
    for outcome in result.outcomes:
        kept = ' class="kept"' if _is_kept(result, outcome) else ""
        figure = "–" if outcome.measured is None else percent(outcome.measured.accuracy)
        rows.append(
            f"<tr{kept}><td>{outcome.strategy.name}<td>{outcome.strategy.summary}<td class=n>{figure}"
            f"<td class=n>{outcome.seconds / 60:.1f}<td class=n>{outcome.changed}<td>{_e(outcome.note)}</tr>"
        )
    return "".join([*rows, "</table>"])


def _caveat(result: Adapted) -> str:
    if not any(outcome.measured is not None and outcome.strategy.trains for outcome in result.outcomes):
        return ""
    return " The validation photos decided how long to train: expect slightly less on new photos."


def _lines(outcome: Outcome) -> list[plots.Line]:
    return [
        plots.Line(f"half {half}", [point.epoch for point in curve], [point.accuracy for point in curve])
        for half, curve in enumerate(outcome.curves, 1)
    ]


def _warnings(result: Adapted) -> list[str]:
    careful = result.adaptation.report.get("careful", "")
    found = [line for line in (careful, result.baselines.warning, _unmeasurable(result)) if line]
    return [f'<div class="warning">{_e(line[0].upper() + line[1:])}.</div>' for line in found]


def _unmeasurable(result: Adapted) -> str:
    counts = result.evaluation.confusion.sum(axis=1)
    few = int(counts.argmin())
    if counts[few] >= 5:
        return ""
    label = result.evaluation.labels[few]
    return f"only {counts[few]} photos of {label!r} are held out: all figures are rough; add photos"


def _worst_photos(result: Adapted) -> list[str]:
    """Return the held-out photos with the most confident wrong answers."""
    rows = np.flatnonzero(result.held)
    names = [result.material.names[row] for row in rows]
    probabilities, labels = result.final.probabilities[rows], result.evaluation.labels
    order = [i for i in worst(probabilities, names, labels, WORST) if not result.final.right[rows[i]]]
    if not order:
        return ["<h2>Worst photos</h2>", "<p>All validation photos are classified correctly.</p>"]
    shown = []
    for i in order:
        guess = int(probabilities[i].argmax())
        source = _thumbnail(result.material.centres[rows[i]])
        name = result.material.paths[rows[i]].name
        shown.append(
            f'<figure><img src="{source}" width={THUMBNAIL} height={THUMBNAIL} alt=""><figcaption>'
            f"is <b>{_e(names[i])}</b><br>called {_e(labels[guess])} ({100 * probabilities[i, guess]:.0f} %)"
            f'<br><span class="quiet">{_e(name)}</span></figcaption></figure>'
        )
    text = "<p>Named wrongly most surely. Is the label right? Can you tell yourself, from this square?</p>"
    return ["<h2>Worst photos</h2>", text, f'<div class="photos">{"".join(shown)}</div>']


def _baselines(result: Adapted) -> list[str]:
    found = result.baselines
    rows = [
        plots.Bar("as pretrained", found.pretrained, chosen=True),
        plots.Bar("same network, untrained", found.random),
        plots.Bar("16 × 16 pixels, no network", found.pixels),
    ]
    gain = 100 * (found.pretrained - max(found.random, found.pixels))
    says = f"Pretraining adds {gain:.1f} points to knowing nothing" if gain > 0 else "Pretraining adds nothing"
    return [plots.bars(rows), f"<p>{says}, on {found.photos} of the photos, each named with itself left out.</p>"]


def _next_steps(result: Adapted) -> list[str]:
    """Return suggestions, the most promising first."""
    folder = _e(str(result.folder))
    steps = [f"Bundle it: <code>edge-export build {folder} -o {_e(result.folder.resolve().name)}.edge</code>"]
    confusion, labels = result.evaluation.confusion.copy(), result.evaluation.labels
    np.fill_diagonal(confusion, 0)
    row, column = np.unravel_index(int(confusion.argmax()), confusion.shape)
    if confusion[row, column] > 1:
        steps.append(
            f"Most often {_e(labels[row])} is taken for {_e(labels[column])} ({confusion[row, column]} times): look "
            "whether some of these are in the wrong folder, and add photos that show the difference."
        )
    late = [outcome.strategy.name for outcome in result.outcomes if outcome.measured is None]
    if late:
        steps.append(f"There was no time for {_e(', '.join(late))}: run again with more <code>--minutes</code>.")
    low, high = result.evaluation.interval
    if high - low > 0.1:
        steps.append(
            f"The figure is only known to {50 * (high - low):.0f} points either way: with more photos small gains can "
            "be told from luck."
        )
    if result.kept == "head" and result.evaluation.accuracy < 0.9 and not late:
        steps.append("No strategy helped: another network may; <code>edge-export compare</code> ranks them.")
    return steps


def _is_kept(result: Adapted, outcome: Outcome) -> bool:
    return outcome.strategy.name == result.kept


def _thumbnail(pixels: NDArray[np.uint8]) -> str:
    """Return a picture as a data URI."""
    file = io.BytesIO()
    Image.fromarray(pixels).resize((2 * THUMBNAIL, 2 * THUMBNAIL)).save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _e(text: str | Sequence[str]) -> str:
    return html.escape(str(text))
