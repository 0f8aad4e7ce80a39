"""Turns the commands' answers into lines of text for people; `--json` gives programs the same facts. Pure."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge.cli.terminal import confusion_table, table
from edge.text import percent, plural

if TYPE_CHECKING:
    from edge.answers import (
        Advice,
        Answer,
        Audited,
        Compared,
        Doubt,
        Evaluated,
        Finding,
        Forgotten,
        HistoryEntry,
        Renamed,
        Retrained,
        Status,
        Suspect,
        Taught,
        Trusted,
        Unsure,
        Verified,
    )
    from edge.home.examples import Example


def answered(result: "Answer") -> list[str]:
    others = ", ".join(f"{guess.label} {100 * guess.probability:.0f} %" for guess in result.top[1:3])
    if result.unknown:
        line = f"{result.image}: unknown  (unlike all examples; the nearest label is {result.top[0].label})"
    else:
        line = f"{result.image}: {result.label} {100 * result.probability:.0f} %" + (f"  ({others})" if others else "")
    near = [
        [f"  {n.similarity:.2f}", n.label, n.source if n.example is None else f"example {n.example}", n.source]
        for n in result.nearest
    ]
    near = [row[: 3 if row[2] == row[3] else 4] for row in near]
    return [line, *(["  most similar examples (1 means identical):", *table(near)] if near else [])]


def when(stored: str) -> str:
    """Format a stored time, ISO 8601 in UTC, for people."""
    return f"{stored[:16].replace('T', ' ')} UTC"


def _accuracy(accuracy: float | None, interval: tuple[float, float] | None) -> str:
    if accuracy is None or interval is None:
        return "not measurable yet"
    return f"{percent(accuracy)} ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"


def _measured(result: "Retrained | Audited", brackets: str = "", how: str = "") -> list[str]:
    """Describe the accuracy, the examples that it is measured on, and the labels without a measurement."""
    from edge.metrics.left_out import SCOPES

    if result.loo_accuracy is None:
        return [f"accuracy: {result.note}"]
    figure = _accuracy(result.loo_accuracy, result.loo_interval)
    return [
        f"accuracy: {figure}{brackets}, measured on {SCOPES[result.scope]}{_part(result)}{how}",
        *([f"  {result.note}"] if result.note else []),
    ]


def _part(result: "Retrained | Audited") -> str:
    """Say how many labels a figure covers, unless it covers all."""
    return f" of {len(result.labels) - len(result.unmeasured)} labels" if result.unmeasured else ""


def retrained(result: "Retrained") -> list[str]:
    serves = "is in use" if result.promoted else f"is a candidate, generation {result.serving} stays in use"
    lines = [
        f"generation {result.generation} {serves}: {plural(len(result.labels), 'label')}, "
        f"{plural(result.local_examples, 'example')} taught here, {result.factory_examples:,} from the bundle",
        f"fitted in {result.milliseconds:.0f} ms ({result.method})",
    ]
    if not result.promoted:
        lines += [
            f"clearly worse: {result.refusal}",
            "to see which examples cause this, run edge audit; to use it anyway, run edge retrain --force",
        ]
    if result.held_out:
        lines.append(f"held out: {_compared(result.held_out)}")
    lines += _measured(result, ", 95 % interval in brackets", ", each classified by a head trained without it")
    if result.known_coverage is not None:
        kept = f"{100 * result.known_coverage:.0f} of 100 known pictures are accepted"
        lines.append(f"pictures unlike all examples are reported as unknown; {kept}")
    if result.unknown_note:
        lines.append(f"reporting pictures as unknown: {result.unknown_note}")
    if result.advice:
        lines.append(f"warning: {result.advice}")
    if len(result.labels) <= 12 and any(map(any, result.confusion)):
        lines += ["", "true labels (rows) and answers (columns):"]
        lines += confusion_table(result.labels, result.labels, result.confusion)
    if result.doubts:
        lines += ["", "doubtful examples, the most certain mistakes first; to correct them, run: edge audit"]
        lines += [f"  {_doubt(doubt)}" for doubt in result.doubts]
    return lines


def taught(parts: Sequence["Taught"]) -> list[str]:
    lines = []
    for one in parts:
        kind, kept = ("new picture", " held out") if one.held_out else ("new example", "")
        spent = f"{one.milliseconds / 1000:.1f} s"
        lines.append(f"{plural(len(one.examples), kind)} of '{one.label}'{kept} in {spent}")
    known = [skipped for one in parts for skipped in one.known]
    if known:
        lines.append(f"{plural(len(known), 'picture')} already stored:")
        lines += [f"  {skipped.image}: {skipped.reason}" for skipped in known[:5]]
    if len(known) > 5:
        lines.append(f"  … and {len(known) - 5} more")
    for one in parts:
        lines += [f"warning: {f'{one.label}: ' if len(parts) > 1 else ''}{line}" for line in one.complaints]
    return lines + ["to use them, run: edge retrain"] * any(one.examples and not one.held_out for one in parts)


def evaluated(result: "Evaluated") -> list[str]:
    right = round(result.accuracy * result.examples)
    lines = [f"parts of the folder: {result.layout}"] if result.layout else []
    lines += [
        f"accuracy {percent(result.accuracy)}: {right} of {result.examples} correct (95 % interval "
        f"{100 * result.interval[0]:.1f}–{100 * result.interval[1]:.1f}), generation {result.generation}"
    ]
    if result.untaught:
        lines.append(
            f"labels without examples, so never correct: {', '.join(result.untaught)}; to add some, run: edge "
            "teach LABEL PICTURES"
        )
    if result.unmeasured:
        from edge.metrics.unmeasured import reasons

        lines.append(f"too few pictures of some labels: {reasons(result.unmeasured)}")
    if result.unknown:
        found = [
            f"{u} of {sum(row)} {t}"
            for t, u, row in zip(result.truths, result.unknown_by_truth, result.confusion, strict=True)
            if u
        ]
        lines.append(f"edge classify reports as unknown: {', '.join(found)}")
    if len(result.labels) <= 12:
        lines += ["", "true labels (rows) and answers (columns):"]
        lines += confusion_table(result.truths, result.labels, result.confusion)
    return lines


def status(status: "Status") -> list[str]:
    new = (
        f"  ({status.untrained_examples} taught or relabelled since; run: edge retrain)"
        if status.untrained_examples
        else ""
    )
    held_out = any(entry.held_out for entry in status.labels)
    rows = [["label", "taught here", "from the bundle", *(["held out"] * held_out)]]
    rows += [
        [entry.label, str(entry.local), str(entry.factory), *([str(entry.held_out)] * held_out)]
        for entry in status.labels
    ]
    return [
        f"home        {status.home}",
        f"bundle      {status.bundle}: {status.backbone}, run as {status.format} {status.precision}",
        f"generation  {status.generation}, made {when(status.trained)} by {status.method}{new}",
        *([f"candidate   {status.candidate}, clearly worse; see edge history"] if status.candidate else []),
        *_stands(status),
        *([f"region      {status.region} (left,top,width,height) of each picture"] if status.region else []),
        *_lately(status),
        *_forgotten_labels(status.forgotten),
        *(["crops       a small JPEG of each example is stored"] if status.keeps_crops else []),
        "",
        *table(rows, right=[1, 2, 3]),
    ]


def _stands(status: "Status") -> list[str]:
    """Describe the current head's accuracy, and the labels for which it is not known."""
    from edge.metrics.unmeasured import note

    left_out = note(status.unmeasured, status.loo_accuracy is not None)
    if status.loo_accuracy is None:
        return [f"accuracy    {left_out}"]
    on = " on the examples taught here" if status.scope == "local" else ""
    figure = f"accuracy    {_accuracy(status.loo_accuracy, status.loo_interval)}, by leave-one-out{on}"
    return [figure, *([f"            {left_out}"] if left_out else [])]


def _forgotten_labels(labels: tuple[str, ...]) -> list[str]:
    if not labels:
        return []
    number = f"{plural(len(labels), 'label')} of the bundle {'stays' if len(labels) == 1 else 'stay'} forgotten"
    back = " ".join(f"--restore-label {shlex.quote(label)}" for label in labels)
    return [f"forgotten   {number}: {', '.join(labels)}; to restore, run: edge init NAME.edge {back}"]


def _lately(status: "Status") -> list[str]:
    """Describe the latest answers of `classify`."""
    if status.known_coverage is None:
        return ["unknown     no picture is reported as unknown: too few examples, or turned off"]
    drift = status.drift
    if drift is None:
        return []
    seen = (
        f"{100 * drift.unknown:.0f} % of the last {drift.frames} frames were unknown ({100 * drift.expected:.0f} % is "
        f"usual); the typical one fits its label better than {100 * drift.typical:.0f} % of the examples"
    )
    if drift.look:
        seen = f"most frames are {drift.look}; {seen}"
    if not drift.drifted:
        return [f"recently    {seen}"]
    return [f"recently    DRIFT: {seen}", "            → look at the frames, or compare them: edge doctor FRAMES"]


def _compared(compared: "Compared") -> str:
    return (
        f"{compared.right} of {plural(compared.examples, 'picture')} not used for training classified correctly, "
        f"{compared.serving_right} by the previous head"
    )


def history(entries: "list[HistoryEntry]") -> list[str]:
    from edge.metrics.unmeasured import note

    held_out = any(entry.held_out_examples for entry in entries)
    head = ["generation", "", "made", "examples", "accuracy (leave-one-out)", *(["held out"] * held_out), "labels"]
    rows = [_entry(entry, held_out) for entry in entries]
    partly: dict[str, list[str]] = {}  # the generations, by what was not measured
    for e in entries:
        if few := [u for u in e.unmeasured if u.examples]:
            partly.setdefault(note(few, e.loo_accuracy is not None), []).append(str(e.generation))
    refused = [f"{', '.join(numbers)}: {told}" for told, numbers in partly.items()]
    here = [str(e.generation) for e in entries if e.scope == "local" and e.loo_accuracy is not None]
    if here and any(e.scope == "all" for e in entries):
        refused.append(f"{', '.join(here)}: measured on the examples taught here, the others on all examples")
    refused += [f"{e.generation} is clearly worse: {e.refusal}" for e in entries if not e.promoted and e.refusal]
    if dropped := entries[-1].generation - len(entries):
        refused.append(
            f"{plural(dropped, 'older generation')} {'was' if dropped == 1 else 'were'} dropped: the newest ones are "
            "kept, and in any case the one in use and the one to which edge rollback goes back"
        )
    return [*table([head, *rows], right=[0, 3]), *([""] if refused else []), *refused]


def _entry(entry: "HistoryEntry", held_out: bool) -> list[str]:
    mark = "in use" if entry.serving else "overwritten" if not entry.usable else "" if entry.promoted else "candidate"
    examples = f"{entry.local_examples}+{entry.factory_examples}"
    labels = ", ".join(entry.labels[:4]) + (f", … ({len(entry.labels)})" if len(entry.labels) > 4 else "")
    accuracy = _accuracy(entry.loo_accuracy, entry.loo_interval)
    share = entry.held_out_accuracy
    asked = "" if share is None else f"{percent(share)} of {entry.held_out_examples}"
    return [str(entry.generation), mark, when(entry.created), examples, accuracy, *([asked] * held_out), labels]


def listed(example: "Example") -> str:
    about = [f"{example.id:>6}", example.label, when(example.created)]
    if example.session is not None:
        about.append(f"session {example.session}")
    return "  ".join([*about, *(["held out"] if example.held_out else []), example.source])


def forgotten(result: "Forgotten") -> list[str]:
    gone = [plural(result.examples, "example"), *[f"the label '{name}'" for name in result.labels]]
    serves = "is in use, trained without them" if result.refitted else "was not trained on them and stays in use"
    return [
        f"forgot {' and '.join(gone)}; generation {result.generation} {serves}",
        *_overwritten(result.overwritten, "they were trained on them"),
    ]


def renamed(result: "Renamed") -> list[str]:
    if not result.merged:
        return [f"'{result.old}' is now '{result.new}'; no retraining is needed"]
    serves = "is in use, trained on the merged label" if result.refitted else "stays in use; see edge history"
    return [
        f"'{result.old}' and '{result.new}' are now one label, '{result.new}': {plural(result.examples, 'example')} "
        f"moved to it; generation {result.generation} {serves}",
        *_overwritten(result.overwritten, "they distinguished the two"),
    ]


def _overwritten(generations: tuple[int, ...], why: str) -> list[str]:
    return [f"overwritten because {why}: generation {', '.join(map(str, generations))}"] if generations else []


def _doubt(one: "Doubt | Suspect") -> str:
    return f"{one.example}  taught as {one.label}, looks like {one.guess} ({100 * one.probability:.0f} %)  {one.source}"


def audited(result: "Audited") -> list[str]:
    lines = [
        f"{plural(result.examples, 'example')} taught here checked, {result.factory_examples:,} from the bundle"
        + (f"; {result.not_looked_at:,} older ones were not" if result.not_looked_at else ""),
        *_measured(result),
    ]

    def section(title: str, items: list[list[str]], most: int = 10) -> None:
        if items:
            lines.extend(["", title, *[f"  {line}" for item in items[:most] for line in item]])
            lines.extend([f"  … and {len(items) - most} more: edge audit --json"] if len(items) > most else [])

    likely = [s for s in result.suspects if s.likely]
    section(
        f"{plural(len(likely), 'label')} probably wrong, the most likely first (to delete a useless picture: "
        "edge forget NUMBER):",
        [[_doubt(one), f"    {one.remedy}"] for one in likely],
    )
    hard = [s for s in result.suspects if not s.likely]
    section(
        f"{plural(len(hard), 'picture')} classified differently, but not with certainty: a wrong label, or a "
        "difficult picture:",
        [[_doubt(one)] for one in hard],
        most=5,
    )
    if not result.suspects:
        lines += ["", "no label looks wrong" + (" among those that could be measured" if result.unmeasured else "")]
    section(
        "nearly identical pictures with two labels:",
        [
            [f"{r.examples[0]} taught as {r.labels[0]}, {r.examples[1]} as {r.labels[1]}", f"    {r.remedy}"]
            for r in result.contradictions
        ],
    )
    section(
        "nearly identical pictures, which make the accuracy too high (teach a burst with --session):",
        [[f"{r.labels[0]}: {', '.join(map(str, r.examples))}", f"    {r.remedy}"] for r in result.repeated],
    )
    section(
        "too few examples to measure; five are needed, and a session counts once:",
        [
            [
                f"{t.label}: {plural(t.examples, 'example')}"
                + (f" of {plural(t.independent, 'session')}" if t.independent != t.examples else ""),
                f"    {t.remedy}",
            ]
            for t in result.thin
        ],
    )
    section(
        "pictures that would be useful to teach, the least certain first:"
        if result.review is None
        else f"frames saved by edge watch that would be useful to label (to label all, run: {result.review}):",
        [[f"{u.image}: {_unsure(u)}", f"    {u.remedy}"] for u in result.unsure],
    )
    section("expected gain from more examples:", [[_advice(a), f"    {a.remedy}"] for a in result.advice])
    if result.curve is None:
        lines += ["", "expected gain from more examples: not measurable yet; every label taught here needs eight"]
    if result.page:
        lines += ["", f"wrote {result.page}"]
    return lines


def _unsure(unsure: "Unsure") -> str:
    if unsure.unknown:
        return f"unlike all examples; the nearest label is {unsure.top[0].label}"
    return " or ".join(f"{guess.label} {100 * guess.probability:.0f} %" for guess in unsure.top[:2])


def _advice(advice: "Advice") -> str:
    what = (
        f"about {advice.more:,} more of {advice.label}"
        if advice.label
        else f"twice the examples ({advice.more:,} more, of all labels)"
    )
    return f"{what}: about {100 * advice.gain:.1f} points, {100 * advice.interval[1]:.1f} at most"


def trusted(result: "Trusted") -> list[str]:
    if not result.keys:
        return ["no key is trusted, so bundles from anybody are accepted; to change that, run: edge trust NAME.pub"]
    rows = [[f"  {key.fingerprint}", key.comment] for key in result.keys]
    seen = f"signed {when(result.signed)} with {result.key}" if result.signed else f"warning: {result.problem}"
    return ["bundles signed with one of these keys are accepted:", *table(rows), f"{result.bundle}: {seen}"]


def findings(findings: "list[Finding]") -> list[str]:
    lines = []
    for finding in findings:
        lines.append(f"{'ok' if finding.ok else 'BAD':<4}{finding.check}: {finding.seen}")
        if not finding.ok:
            lines.append(f"    → {finding.remedy}")
    return lines


def verified(found: "Verified") -> list[str]:
    mended = [f"repaired: {line}" for line in found.mended]
    return [*findings(list(found.findings)), *mended]
