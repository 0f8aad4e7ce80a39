"""The device's command line: each command parses, calls one method of the learner, and prints its answer.

`--home DIR` and `--json` stand before or after the command's name. Nothing heavy is imported before a command needs it.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import edge
from edge.terminal import PARTLY, Progress, complain, confusion_table, percent, plural, run, say, say_json, table

if TYPE_CHECKING:
    from edge.answers import Advice, Answer, Audited, Compared, Evaluated, Finding, HistoryEntry, Retrained, Status
    from edge.learner import Learner

_F = TypeVar("_F", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)


def shared(command: _F) -> _F:
    """Give a command `--home` and `--json`, which also stand before its name; the nearer one wins."""
    command = click.option("--home", type=_PATH, expose_value=False, callback=_remember, help="Folder of all state.")(
        command
    )
    return click.option(
        "--json", "as_json", is_flag=True, default=None, expose_value=False, callback=_remember, help="Print JSON."
    )(command)


def _remember(context: click.Context, option: click.Parameter, value: Any) -> None:
    if value is not None:
        context.ensure_object(dict)[option.name] = value


def home() -> Path:
    """Return the home: --home, else $EDGE_HOME, else the user's data folder."""
    chosen = click.get_current_context().ensure_object(dict).get("home") or os.environ.get("EDGE_HOME")
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(chosen) if chosen else Path(data) / "edge"


def as_json() -> bool:
    """Whether a program reads our answer."""
    return bool(click.get_current_context().ensure_object(dict).get("as_json"))


def learner() -> "Learner":
    """Open the home; it is closed with the command."""
    from edge.learner import Learner

    opened = Learner.open(home())
    click.get_current_context().call_on_close(opened.close)
    return opened


def answer(value: Any, lines: Callable[[], list[str]]) -> None:
    """Print an answer: as JSON for programs, else as lines for people."""
    from edge.answers import to_json

    if as_json():
        say_json(to_json(value))
    else:
        for line in lines():
            say(line)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(edge.__version__, prog_name="edge")
@shared
def cli() -> None:
    """Classify pictures on this device, and teach it new ones.

    A home folder holds all that it has learned. Make one from a bundle with `edge init`, then `edge teach` and
    `edge retrain` as you like: it takes milliseconds and needs no network.
    """


@cli.command()
@click.argument("bundle", type=_PATH)
@click.option("--runtime", "format", type=click.Choice(["onnx", "tflite"]), help="Which model of the bundle to run.")
@click.option("--precision", type=click.Choice(["fp32", "int8"]), help="At which precision; fp32 unless it is missing.")
@click.option(
    "--keep-crops/--no-keep-crops",
    default=None,
    help="Keep a small JPEG (at most 32 KB) of each picture taught, to look at later; not kept unless you say so.",
)
@shared
def init(bundle: Path, format: str | None, precision: str | None, keep_crops: bool | None) -> None:
    """Adopt BUNDLE: check it, prove it here, and let it serve."""
    from edge.adopt import adopt

    with adopt(home(), bundle, format, precision, keep_crops) as made:
        status = made.status()
        golden = len(made.bundle.golden().images)
        proof = f"proved on {made.backbone().runtime}: {golden} golden pictures give the workstation's embeddings"
    answer(status, lambda: [proof, *_status(status)])


@cli.command()
@click.argument("pictures", nargs=-1, required=True, type=_PATH)
@click.option("--explain", is_flag=True, help="Name the taught examples nearest to each picture.")
@shared
def classify(pictures: tuple[Path, ...], explain: bool) -> int:
    """Name what is on PICTURES: files, or folders of them.

    A picture unlike everything taught is called unknown.
    """
    from edge.answers import Skipped, to_json
    from edge.preprocess import find

    opened = learner()
    partly = False
    for result in opened.classify([file for path in pictures for file in find(path)], explain):
        if isinstance(result, Skipped):
            partly = True
            complain(f"skipped: {result.reason}")
        elif as_json():
            say_json({k: v for k, v in to_json(result).items() if explain or k != "nearest"})
        else:
            for line in _answer(result):
                say(line)
    return PARTLY if partly else 0


@cli.command()
@click.argument("label")
@click.argument("pictures", nargs=-1, required=True, type=_PATH)
@click.option("--session", help="Name shared by pictures that are nearly the same, such as one burst of a camera.")
@click.option(
    "--holdout", is_flag=True, help="Never fit a head to them; ask each new head about them before it serves."
)
@shared
def teach(label: str, pictures: tuple[Path, ...], session: str | None, holdout: bool) -> int:
    """Store PICTURES as examples of LABEL, old or new.

    PICTURES are files or folders of them. What is known already is not stored again. Then: edge retrain.
    """
    taught = learner().teach(label, list(pictures), session, Progress("teaching"), holdout)
    for skipped in taught.unreadable:
        complain(f"skipped: {skipped.reason}")

    def lines() -> list[str]:
        kind, kept = ("new picture", " held out") if holdout else ("new example", "")
        new = f"{plural(len(taught.examples), kind)} of '{taught.label}'{kept} in {taught.milliseconds / 1000:.1f} s"
        known = [f"  {s.image}: {s.reason}" for s in taught.known[:5]]
        more = [f"  … and {len(taught.known) - 5} more"] if len(taught.known) > 5 else []
        head = [f"{plural(len(taught.known), 'picture')} not stored again:"] if taught.known else []
        differ = [f"careful: {line}" for line in taught.complaints]
        then = ["now run: edge retrain"] if taught.examples and not holdout else []
        return [new, *head, *known, *more, *differ, *then]

    answer(taught, lines)
    return PARTLY if taught.unreadable else 0


@cli.command()
@click.option(
    "--known-coverage",
    type=click.FloatRange(0.5, 1),
    help="Share of known pictures that is not to be called unknown, from now on; 1 calls none unknown.",
)
@click.option(
    "--if-taught", is_flag=True, help="Do nothing unless examples were taught since the serving head was made."
)
@click.option("--force", is_flag=True, help="Let the new head serve even if it is clearly worse.")
@shared
def retrain(known_coverage: float | None, if_taught: bool, force: bool) -> None:
    """Fit a new head to everything taught, and let it serve.

    One that is clearly worse than the serving head, on the same pictures, stays a candidate.
    """
    opened = learner()
    if if_taught and not opened.status().untrained_examples:
        complain("nothing was taught since the serving head was made")
        return
    result = opened.retrain(known_coverage, force)
    answer(result, lambda: _retrained(result))


@cli.command()
@click.argument("folder", type=_PATH)
@shared
def evaluate(folder: Path) -> int:
    """Count how often the class folders in FOLDER are named rightly.

    FOLDER holds one folder of pictures for each label, named like it.
    """
    result = learner().evaluate(folder)
    for skipped in result.unreadable:
        complain(f"skipped: {skipped.reason}")
    answer(result, lambda: _evaluated(result))
    return PARTLY if result.unreadable else 0


@cli.command()
@shared
def status() -> None:
    """Show the home at a glance."""
    result = learner().status()
    answer(result, lambda: _status(result))


@cli.command()
@shared
def history() -> None:
    """List every generation of the head."""
    entries = learner().history()
    answer(entries, lambda: _histories(entries))


@cli.command()
@click.argument("generation", type=int, required=False)
@shared
def rollback(generation: int | None) -> None:
    """Let an earlier GENERATION serve again.

    Without a number, the one before the serving one. The examples stay.
    """
    entry = learner().rollback(generation)
    answer(entry, lambda: [f"generation {entry.generation}, made {_when(entry.created)}, serves again"])


@cli.command()
@click.argument("examples", nargs=-1)
@click.option("--session", help="Forget all examples of this session.")
@click.option("--label", help="Forget this label and all of its examples, the factory's too.")
@shared
def forget(examples: tuple[str, ...], session: str | None, label: str | None) -> None:
    """Forget EXAMPLES as if they had never been taught, and refit.

    EXAMPLES are numbers, as other commands print them, or the picture files themselves.
    """
    if not examples and session is None and label is None:
        raise click.UsageError("name examples, or give --session or --label")
    result = learner().forget(examples, session, label)

    def lines() -> list[str]:
        gone = [plural(result.examples, "example"), *[f"the label '{name}'" for name in result.labels]]
        scrubbed = ", ".join(map(str, result.overwritten))
        serves = "serves, fitted without them" if result.refitted else "never saw them, and goes on serving"
        return [
            f"forgot {' and '.join(gone)}; generation {result.generation} {serves}",
            *([f"overwritten, as they had learned from them: generation {scrubbed}"] if scrubbed else []),
        ]

    answer(result, lines)


@cli.command()
@click.argument("label")
@click.argument("examples", nargs=-1, required=True)
@shared
def relabel(label: str, examples: tuple[str, ...]) -> None:
    """Give EXAMPLES another LABEL, old or new.

    EXAMPLES are numbers, as other commands print them, or the picture files themselves. Then: edge retrain.
    """
    result = learner().relabel(examples, label)
    answer(result, lambda: [f"{plural(len(result), 'example')} now '{result[0].label}'; now run: edge retrain"])


@cli.command()
@click.argument("old")
@click.argument("new")
@shared
def rename(old: str, new: str) -> None:
    """Rename label OLD to NEW, at once and everywhere."""
    learner().rename(old, new)
    answer({"old": old, "new": new}, lambda: [f"'{old}' is now '{new}'; nothing needs retraining"])


@cli.command()
@click.argument("pictures", nargs=-1, type=_PATH)
@click.option("--html", type=_PATH, help="Write it as one page with pictures, a map and the learning curve.")
@shared
def audit(pictures: tuple[Path, ...], html: Path | None) -> int:
    """Find what is wrong with the examples, and what to teach next.

    It changes nothing; each finding comes with the command that mends it. Of PICTURES, files or folders that are not
    taught yet, it names those worth teaching.
    """
    result = learner().audit(list(pictures), html)
    for skipped in result.unreadable:
        complain(f"skipped: {skipped.reason}")
    answer(result, lambda: _audited(result))
    return PARTLY if result.unreadable else 0


@cli.command()
@click.argument("file", type=_PATH)
@shared
def export(file: Path) -> None:
    """Write the whole classifier as one .onnx or .tflite FILE.

    It holds backbone, head and labels, and runs in any ONNX or TFLite runtime with no code of ours.
    """
    result = learner().export(file)
    size = f"{result.bytes / 1e6:.1f} MB"
    answer(
        result,
        lambda: [
            f"wrote {result.file} ({size}): {len(result.labels)} labels, generation {result.generation}"
            "; it never says unknown, that is for edge classify alone"
        ],
    )


@cli.command()
@click.argument("pictures", nargs=-1, type=_PATH)
@shared
def doctor(pictures: tuple[Path, ...]) -> int:
    """Check this machine and the home, and say how to mend them.

    PICTURES of the camera here, files or folders, are compared with those of the bundle: too dark, blurred, another
    scene?
    """
    from edge.doctor import examine

    findings = examine(home(), pictures)
    answer(findings, lambda: _findings(findings))
    return 0 if all(finding.ok for finding in findings) else 1


def add(command: click.Command) -> None:
    """Give the group a command that another module defines."""
    cli.add_command(command)


def main() -> None:
    """Entry point of `edge` and `python -m edge`."""
    run(cli, "edge")


# lines for people -------------------------------------------------------------------------------------------------


def _answer(result: "Answer") -> list[str]:
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


def _when(stored: str) -> str:
    """Write a stored time, ISO 8601 in UTC, as people read it."""
    return f"{stored[:16].replace('T', ' ')} UTC"


def _accuracy(accuracy: float | None, interval: tuple[float, float] | None) -> str:
    if accuracy is None or interval is None:
        return "not measurable yet"
    return f"{percent(accuracy)} ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"


def _retrained(result: "Retrained") -> list[str]:
    from edge.judge import SCOPES

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
    if result.loo_accuracy is None:
        lines.append(f"accuracy: {result.note}")
        return lines
    lines.append(
        f"accuracy: {_accuracy(result.loo_accuracy, result.loo_interval)}, the 95 % interval in brackets, measured on "
        f"{SCOPES[result.scope]}, each named by a head that was not taught it"
    )
    if result.known_coverage is not None:
        kept = f"{100 * result.known_coverage:.0f} of 100 known pictures are kept"
        lines.append(f"unlike everything taught is called unknown: set so that {kept}")
    if result.unknown_note:
        lines.append(f"calling pictures unknown: {result.unknown_note}")
    if result.advice:
        lines.append(f"careful: {result.advice}")
    if len(result.labels) <= 12:
        lines += ["", "what it is (rows) and what it was called (columns):"]
        lines += confusion_table(result.labels, result.labels, result.confusion)
    if result.doubts:
        lines += ["", "doubtful examples, the surest mistakes first:"]
        lines += [
            f"  {d.example}  taught as {d.label}, looks like {d.guess} ({100 * d.probability:.0f} %)  {d.source}"
            for d in result.doubts
        ]
    return lines


def _evaluated(result: "Evaluated") -> list[str]:
    right = round(result.accuracy * result.examples)
    lines = [
        f"{percent(result.accuracy)} right: {right} of {result.examples} (95 % interval "
        f"{100 * result.interval[0]:.1f}–{100 * result.interval[1]:.1f}), generation {result.generation}"
    ]
    if result.untaught:
        lines.append(f"never taught, so never right: {', '.join(result.untaught)}; teach it: edge teach LABEL PICTURES")
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


def _status(status: "Status") -> list[str]:
    new = f"  ({status.untrained_examples} taught since: edge retrain)" if status.untrained_examples else ""
    held_out = any(entry.held_out for entry in status.labels)
    rows = [["label", "taught here", "from the factory", *(["held out"] * held_out)]]
    rows += [
        [entry.label, str(entry.local), str(entry.factory), *([str(entry.held_out)] * held_out)]
        for entry in status.labels
    ]
    return [
        f"home        {status.home}",
        f"bundle      {status.bundle}: {status.backbone}, run as {status.format} {status.precision}",
        f"generation  {status.generation}, made {_when(status.trained)} by {status.method}{new}",
        *([f"candidate   {status.candidate}, clearly worse, see: edge history"] if status.candidate else []),
        f"accuracy    {_accuracy(status.loo_accuracy, status.loo_interval)}, each example left out",
        *([f"region      {status.region} (left,top,width,height) of each picture"] if status.region else []),
        *_lately(status),
        *(["crops       a small one of each picture taught is kept"] if status.keeps_crops else []),
        "",
        *table(rows, right=[1, 2, 3]),
    ]


def _lately(status: "Status") -> list[str]:
    """What `classify` saw lately."""
    if status.known_coverage is None:
        return ["unknown     no picture is called so: too few examples, or switched off"]
    drift = status.drift
    if drift is None:
        return []
    seen = (
        f"{100 * drift.unknown:.0f} % of the last {drift.frames} frames were unknown ({100 * drift.expected:.0f} % is "
        f"usual); the typical one fits it better than {100 * drift.typical:.0f} % of the examples (50 % is)"
    )
    if not drift.drifted:
        return [f"lately      {seen}"]
    return [f"lately      DRIFT: {seen}", "            → look at the frames, or compare them: edge doctor FRAMES"]


def _compared(compared: "Compared") -> str:
    return (
        f"{compared.right} of {plural(compared.examples, 'picture')} that no head is taught named rightly, "
        f"{compared.serving_right} by the head before"
    )


def _histories(entries: "list[HistoryEntry]") -> list[str]:
    held_out = any(entry.held_out_examples for entry in entries)
    head = ["generation", "", "made", "examples", "right, each left out", *(["held out"] * held_out), "labels"]
    rows = [_history(entry, held_out) for entry in entries]
    refused = [f"{e.generation} is clearly worse: {e.refusal}" for e in entries if not e.promoted and e.refusal]
    return [*table([head, *rows], right=[0, 3]), *([""] if refused else []), *refused]


def _history(entry: "HistoryEntry", held_out: bool) -> list[str]:
    mark = "serving" if entry.serving else "overwritten" if not entry.usable else "" if entry.promoted else "candidate"
    examples = f"{entry.local_examples}+{entry.factory_examples}"
    labels = ", ".join(entry.labels[:4]) + (f", … ({len(entry.labels)})" if len(entry.labels) > 4 else "")
    accuracy = _accuracy(entry.loo_accuracy, entry.loo_interval)
    share = entry.held_out_accuracy
    asked = "" if share is None else f"{percent(share)} of {entry.held_out_examples}"
    return [str(entry.generation), mark, _when(entry.created), examples, accuracy, *([asked] * held_out), labels]


def _audited(result: "Audited") -> list[str]:
    from edge.judge import SCOPES

    lines = [
        f"{plural(result.examples, 'example')} taught here looked at, {result.factory_examples:,} from the factory"
        + (f"; {result.not_looked_at:,} older ones were not" if result.not_looked_at else ""),
        f"accuracy: {_accuracy(result.loo_accuracy, result.loo_interval)}, measured on {SCOPES[result.scope]}"
        if result.loo_accuracy is not None
        else f"accuracy: {result.note}",
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
        lines += ["", "no label looks wrong"]
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
        "pictures worth teaching next, the least sure first:",
        [
            [
                f"{u.image}: {' or '.join(f'{g.label} {100 * g.probability:.0f} %' for g in u.top[:2])}",
                f"    {u.remedy}",
            ]
            for u in result.unsure
        ],
    )
    section("what more examples are worth:", [[_advice(a), f"    {a.remedy}"] for a in result.advice])
    if result.curve is None:
        lines += ["", "what more examples are worth: not measurable yet, it takes eight of every label taught here"]
    if result.page:
        lines += ["", f"wrote {result.page}"]
    return lines


def _advice(advice: "Advice") -> str:
    what = (
        f"about {advice.more:,} more of {advice.label}"
        if advice.label
        else f"twice the examples ({advice.more:,} more, of all labels)"
    )
    low, high = (max(0.0, 100 * end) for end in advice.interval)
    if low < 0.1:
        return f"{what}: at most {high:.1f} points"
    return f"{what}: about {100 * advice.gain:.1f} points ({low:.1f} to {high:.1f})"


def _findings(findings: "list[Finding]") -> list[str]:
    lines = []
    for finding in findings:
        lines.append(f"{'ok' if finding.ok else 'BAD':<4}{finding.check}: {finding.seen}")
        if not finding.ok:
            lines.append(f"    → {finding.remedy}")
    return lines


from edge import cli_camera  # noqa: E402, F401  # its commands need the group above
