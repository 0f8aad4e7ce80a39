"""What the commands' answers say to people, as lines of plain text; `--json` says the same to programs. Pure."""

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
        Evaluated,
        Finding,
        Forgotten,
        HistoryEntry,
        Renamed,
        Retrained,
        Status,
        Taught,
        Trusted,
        Unsure,
        Verified,
    )
    from edge.home.examples import Example


def answered(result: "Answer") -> list[str]:
    others = ", ".join(f"{guess.label} {100 * guess.probability:.0f} %" for guess in result.top[1:3])
    if result.unknown:
        line = f"{result.image}: unknown  (unlike everything taught; of the labels, {result.top[0].label} is nearest)"
    else:
        line = f"{result.image}: {result.label} {100 * result.probability:.0f} %" + (f"  ({others})" if others else "")
    near = [
        [f"  {n.similarity:.2f}", n.label, n.source if n.example is None else f"example {n.example}", n.source]
        for n in result.nearest
    ]
    near = [row[: 3 if row[2] == row[3] else 4] for row in near]
    return [line, *(["  nearest of the taught examples (1 is the same):", *table(near)] if near else [])]


def when(stored: str) -> str:
    """Write a stored time, ISO 8601 in UTC, as people read it."""
    return f"{stored[:16].replace('T', ' ')} UTC"


def _accuracy(accuracy: float | None, interval: tuple[float, float] | None) -> str:
    if accuracy is None or interval is None:
        return "not measurable yet"
    return f"{percent(accuracy)} ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"


def _measured(result: "Retrained | Audited", brackets: str = "", how: str = "") -> list[str]:
    """The accuracy with what it is measured on, and the labels that have no part in it."""
    from edge.metrics.left_out import SCOPES

    if result.loo_accuracy is None:
        return [f"accuracy: {result.note}"]
    figure = _accuracy(result.loo_accuracy, result.loo_interval)
    return [
        f"accuracy: {figure}{brackets}, measured on {SCOPES[result.scope]}{_part(result)}{how}",
        *([f"  {result.note}"] if result.note else []),
    ]


def _part(result: "Retrained | Audited") -> str:
    """Of how many labels a figure is, if not of all."""
    return f" of {len(result.labels) - len(result.unmeasured)} labels" if result.unmeasured else ""


def retrained(result: "Retrained") -> list[str]:
    serves = "serves" if result.promoted else f"is a candidate, generation {result.serving} goes on serving"
    lines = [
        f"generation {result.generation} {serves}: {plural(len(result.labels), 'label')}, "
        f"{plural(result.local_examples, 'example')} taught here, {result.factory_examples:,} from the factory",
        f"fitted in {result.milliseconds:.0f} ms ({result.method})",
    ]
    if not result.promoted:
        lines += [
            f"clearly worse: {result.refusal}",
            "see which examples are to blame: edge audit; to let it serve all the same: edge retrain --force",
        ]
    if result.held_out:
        lines.append(f"held out: {_compared(result.held_out)}")
    lines += _measured(result, ", the 95 % interval in brackets", ", each named by a head that was not taught it")
    if result.known_coverage is not None:
        kept = f"{100 * result.known_coverage:.0f} of 100 known pictures are kept"
        lines.append(f"unlike everything taught is called unknown: set so that {kept}")
    if result.unknown_note:
        lines.append(f"calling pictures unknown: {result.unknown_note}")
    if result.advice:
        lines.append(f"careful: {result.advice}")
    if len(result.labels) <= 12 and any(map(any, result.confusion)):
        lines += ["", "what it is (rows) and what it was called (columns):"]
        lines += confusion_table(result.labels, result.labels, result.confusion)
    if result.doubts:
        lines += ["", "doubtful examples, the surest mistakes first:"]
        lines += [
            f"  {d.example}  taught as {d.label}, looks like {d.guess} ({100 * d.probability:.0f} %)  {d.source}"
            for d in result.doubts
        ]
    return lines


def taught(parts: Sequence["Taught"]) -> list[str]:
    lines = []
    for one in parts:
        kind, kept = ("new picture", " held out") if one.held_out else ("new example", "")
        spent = f"{one.milliseconds / 1000:.1f} s"
        lines.append(f"{plural(len(one.examples), kind)} of '{one.label}'{kept} in {spent}")
    known = [skipped for one in parts for skipped in one.known]
    if known:
        lines.append(f"{plural(len(known), 'picture')} not stored again:")
        lines += [f"  {skipped.image}: {skipped.reason}" for skipped in known[:5]]
    if len(known) > 5:
        lines.append(f"  … and {len(known) - 5} more")
    for one in parts:
        lines += [f"careful: {f'{one.label}: ' if len(parts) > 1 else ''}{line}" for line in one.complaints]
    return lines + ["now run: edge retrain"] * any(one.examples and not one.held_out for one in parts)


def evaluated(result: "Evaluated") -> list[str]:
    right = round(result.accuracy * result.examples)
    lines = [f"parts: {result.layout}"] if result.layout else []
    lines += [
        f"{percent(result.accuracy)} right: {right} of {result.examples} (95 % interval "
        f"{100 * result.interval[0]:.1f}–{100 * result.interval[1]:.1f}), generation {result.generation}"
    ]
    if result.untaught:
        lines.append(f"never taught, so never right: {', '.join(result.untaught)}; teach it: edge teach LABEL PICTURES")
    if result.unmeasured:
        from edge.metrics.unmeasured import reasons

        lines.append(f"says little of some labels: {reasons(result.unmeasured)}")
    if result.unknown:
        found = [
            f"{u} of {sum(row)} {t}"
            for t, u, row in zip(result.truths, result.unknown_by_truth, result.confusion, strict=True)
            if u
        ]
        lines.append(f"classify calls unknown: {', '.join(found)}")
    if len(result.labels) <= 12:
        lines += ["", "what it is (rows) and what it was called (columns):"]
        lines += confusion_table(result.truths, result.labels, result.confusion)
    return lines


def status(status: "Status") -> list[str]:
    new = (
        f"  ({status.untrained_examples} taught or relabelled since: edge retrain)" if status.untrained_examples else ""
    )
    held_out = any(entry.held_out for entry in status.labels)
    rows = [["label", "taught here", "from the factory", *(["held out"] * held_out)]]
    rows += [
        [entry.label, str(entry.local), str(entry.factory), *([str(entry.held_out)] * held_out)]
        for entry in status.labels
    ]
    return [
        f"home        {status.home}",
        f"bundle      {status.bundle}: {status.backbone}, run as {status.format} {status.precision}",
        f"generation  {status.generation}, made {when(status.trained)} by {status.method}{new}",
        *([f"candidate   {status.candidate}, clearly worse, see: edge history"] if status.candidate else []),
        *_stands(status),
        *([f"region      {status.region} (left,top,width,height) of each picture"] if status.region else []),
        *_lately(status),
        *_forgotten_labels(status.forgotten),
        *(["crops       a small one of each picture taught is kept"] if status.keeps_crops else []),
        "",
        *table(rows, right=[1, 2, 3]),
    ]


def _stands(status: "Status") -> list[str]:
    """How good the serving head is, and the labels of which that is not known."""
    from edge.metrics.unmeasured import note

    left_out = note(status.unmeasured, status.loo_accuracy is not None)
    if status.loo_accuracy is None:
        return [f"accuracy    {left_out}"]
    figure = f"accuracy    {_accuracy(status.loo_accuracy, status.loo_interval)}, each example left out"
    return [figure, *([f"            {left_out}"] if left_out else [])]


def _forgotten_labels(labels: tuple[str, ...]) -> list[str]:
    if not labels:
        return []
    number = f"{plural(len(labels), 'label')} of the bundle {'stays' if len(labels) == 1 else 'stay'} forgotten"
    back = " ".join(f"--restore-label {shlex.quote(label)}" for label in labels)
    return [f"forgotten   {number}: {', '.join(labels)}; to have it back: edge init NAME.edge {back}"]


def _lately(status: "Status") -> list[str]:
    """What `classify` saw lately."""
    if status.known_coverage is None:
        return ["unknown     no picture is called so: too few examples, or switched off"]
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
        return [f"lately      {seen}"]
    return [f"lately      DRIFT: {seen}", "            → look at the frames, or compare them: edge doctor FRAMES"]


def _compared(compared: "Compared") -> str:
    return (
        f"{compared.right} of {plural(compared.examples, 'picture')} that no head is taught named rightly, "
        f"{compared.serving_right} by the head before"
    )


def history(entries: "list[HistoryEntry]") -> list[str]:
    from edge.metrics.unmeasured import note

    held_out = any(entry.held_out_examples for entry in entries)
    head = ["generation", "", "made", "examples", "right, each left out", *(["held out"] * held_out), "labels"]
    rows = [_entry(entry, held_out) for entry in entries]
    partly: dict[str, list[str]] = {}  # the generations by what was not measured
    for e in entries:
        if few := [u for u in e.unmeasured if u.examples]:
            partly.setdefault(note(few, e.loo_accuracy is not None), []).append(str(e.generation))
    refused = [f"{', '.join(numbers)}: {told}" for told, numbers in partly.items()]
    refused += [f"{e.generation} is clearly worse: {e.refusal}" for e in entries if not e.promoted and e.refusal]
    if dropped := entries[-1].generation - len(entries):
        refused.append(
            f"{plural(dropped, 'older generation')} {'was' if dropped == 1 else 'were'} dropped: the newest ones are "
            "kept, with the one that serves and the one that edge rollback goes back to"
        )
    return [*table([head, *rows], right=[0, 3]), *([""] if refused else []), *refused]


def _entry(entry: "HistoryEntry", held_out: bool) -> list[str]:
    mark = "serving" if entry.serving else "overwritten" if not entry.usable else "" if entry.promoted else "candidate"
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
    serves = "serves, fitted without them" if result.refitted else "never saw them, and goes on serving"
    return [
        f"forgot {' and '.join(gone)}; generation {result.generation} {serves}",
        *_overwritten(result.overwritten, "they had learned from them"),
    ]


def renamed(result: "Renamed") -> list[str]:
    if not result.merged:
        return [f"'{result.old}' is now '{result.new}'; nothing needs retraining"]
    serves = "serves, fitted to the label as one" if result.refitted else "goes on serving; see: edge history"
    return [
        f"'{result.old}' and '{result.new}' are one label now, '{result.new}': {plural(result.examples, 'example')} "
        f"moved to it; generation {result.generation} {serves}",
        *_overwritten(result.overwritten, "they told the two apart"),
    ]


def _overwritten(generations: tuple[int, ...], why: str) -> list[str]:
    return [f"overwritten, as {why}: generation {', '.join(map(str, generations))}"] if generations else []


def audited(result: "Audited") -> list[str]:
    lines = [
        f"{plural(result.examples, 'example')} taught here looked at, {result.factory_examples:,} from the factory"
        + (f"; {result.not_looked_at:,} older ones were not" if result.not_looked_at else ""),
        *_measured(result),
    ]

    def section(title: str, items: list[list[str]], most: int = 10) -> None:
        if items:
            lines.extend(["", title, *[f"  {line}" for item in items[:most] for line in item]])
            lines.extend([f"  … and {len(items) - most} more: edge audit --json"] if len(items) > most else [])

    likely = [s for s in result.suspects if s.likely]
    section(
        f"{plural(len(likely), 'label')} likely wrong, the likeliest first (a useless picture: edge forget NUMBER):",
        [
            [
                f"{s.example}  taught as {s.label}, looks like {s.guess} ({100 * s.probability:.0f} %)  {s.source}",
                f"    {s.remedy}",
            ]
            for s in likely
        ],
    )
    hard = [s for s in result.suspects if not s.likely]
    section(
        f"{plural(len(hard), 'picture')} named otherwise, but not surely: a wrong label, or a hard picture:",
        [
            [f"{s.example}  taught as {s.label}, looks like {s.guess} ({100 * s.probability:.0f} %)  {s.source}"]
            for s in hard
        ],
        most=5,
    )
    if not result.suspects:
        lines += ["", "no label looks wrong" + (" among those that could be measured" if result.unmeasured else "")]
    section(
        "nearly the same picture under two labels:",
        [
            [f"{r.examples[0]} taught as {r.labels[0]}, {r.examples[1]} as {r.labels[1]}", f"    {r.remedy}"]
            for r in result.contradictions
        ],
    )
    section(
        "nearly the same picture again, which makes the figures too good (a burst: teach it with --session):",
        [[f"{r.labels[0]}: {', '.join(map(str, r.examples))}", f"    {r.remedy}"] for r in result.repeated],
    )
    section(
        "too few to judge, five are needed and a session counts once:",
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
        "pictures worth teaching next, the least sure first:"
        if result.review is None
        else f"frames that watch kept lately, the most worth a label first (or all, one key each: {result.review}):",
        [[f"{u.image}: {_unsure(u)}", f"    {u.remedy}"] for u in result.unsure],
    )
    section("what more examples are worth:", [[_advice(a), f"    {a.remedy}"] for a in result.advice])
    if result.curve is None:
        lines += ["", "what more examples are worth: not measurable yet, it takes eight of every label taught here"]
    if result.page:
        lines += ["", f"wrote {result.page}"]
    return lines


def _unsure(unsure: "Unsure") -> str:
    if unsure.unknown:
        return f"unlike everything taught; of the labels, {unsure.top[0].label} is nearest"
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
        return ["no key is pinned: bundles are taken from anybody; to change that: edge trust NAME.pub"]
    rows = [[f"  {key.fingerprint}", key.comment] for key in result.keys]
    seen = f"signed {when(result.signed)} with {result.key}" if result.signed else f"careful: {result.problem}"
    return ["bundles are taken if one of these keys signed them:", *table(rows), f"{result.bundle}: {seen}"]


def findings(findings: "list[Finding]") -> list[str]:
    lines = []
    for finding in findings:
        lines.append(f"{'ok' if finding.ok else 'BAD':<4}{finding.check}: {finding.seen}")
        if not finding.ok:
            lines.append(f"    → {finding.remedy}")
    return lines


def verified(found: "Verified") -> list[str]:
    mended = [f"mended: {line}" for line in found.mended]
    return [*findings(list(found.findings)), *mended]
