"""The commands for managing a home: its status, examples, labels, generations, and problems in the examples."""

from pathlib import Path

import click

from edge.cli import app, wording
from edge.cli.terminal import PATH, complain, say, say_json_list
from edge.text import plural


@click.command()
@click.argument("label", required=False)
@app.shared
def examples(label: str | None) -> None:
    """List the examples taught here, or only those of LABEL.

    Each has a number, which edge relabel and edge forget accept.
    """
    from edge.answers import to_json

    opened = app.learner()
    found = opened.list_examples(label)
    if app.as_json():
        say_json_list("examples", map(to_json, found), {"label": label})
        return
    count = held_out = 0
    for example in found:
        say(wording.listed(example))
        count += 1
        held_out += example.held_out
    of = f" of '{label}'" if label else ""
    say(f"{plural(count, 'example')}{of} taught here" + (f", {held_out:,} of them held out" if held_out else ""))


@click.command()
@click.argument("examples", nargs=-1)
@click.option("--session", help="Delete all examples of this session.")
@click.option("--label", help="Delete this label with all its examples, including those in the bundle.")
@app.shared
def forget(examples: tuple[str, ...], session: str | None, label: str | None) -> None:
    """Delete EXAMPLES, and train again without them.

    EXAMPLES are numbers printed by edge examples, or the picture files themselves. The result is the same as if they
    had never been taught.
    """
    if not examples and session is None and label is None:
        raise click.UsageError("give EXAMPLES, --session or --label")
    result = app.learner().forget(examples, session, label)
    app.answer(result, lambda: wording.forgotten(result))


@click.command()
@click.argument("label")
@click.argument("examples", nargs=-1, required=True)
@app.shared
def relabel(label: str, examples: tuple[str, ...]) -> None:
    """Change the label of EXAMPLES to LABEL, which may be new.

    EXAMPLES are numbers printed by edge examples, or the picture files themselves. To use the new labels, run edge
    retrain.
    """
    opened = app.learner()
    complaints = opened.beside(label)
    changed = opened.relabel(examples, label)
    for line in complaints:
        complain(f"warning: {line}")
    app.answer(
        changed, lambda: [f"{plural(len(changed), 'example')} now '{changed[0].label}'; to use them, run: edge retrain"]
    )


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--merge", is_flag=True, help="Merge OLD into an existing label NEW. This cannot be undone.")
@app.shared
def rename(old: str, new: str, merge: bool) -> None:
    """Rename label OLD to NEW everywhere, in all generations.

    With --merge, all examples of OLD become examples of NEW, and a new generation is trained at once.
    """
    opened = app.learner()
    complaints = opened.beside(new, leaving=old)
    result = opened.rename(old, new, merge)
    for line in complaints:
        complain(f"warning: {line}")
    app.answer(result, lambda: wording.renamed(result))


@click.command()
@app.shared
def status() -> None:
    """Show the installed bundle, the labels and the accuracy."""
    result = app.learner().status()
    app.answer(result, lambda: wording.status(result))


@click.command()
@app.shared
def history() -> None:
    """List all generations with their accuracy, oldest first."""
    entries = app.learner().history()
    app.answer(entries, lambda: wording.history(entries))


@click.command()
@click.argument("generation", type=int, required=False)
@app.shared
def rollback(generation: int | None) -> None:
    """Go back to an earlier GENERATION.

    Without a number, go back to the previous one. No examples are deleted.
    """
    entry = app.learner().rollback(generation)
    app.answer(entry, lambda: [f"generation {entry.generation}, made {wording.when(entry.created)}, is in use again"])


@click.command()
@click.argument("pictures", nargs=-1, type=PATH)
@click.option("--html", type=PATH, help="Also write an HTML report with pictures, a map and the learning curve.")
@app.shared
def audit(pictures: tuple[Path, ...], html: Path | None) -> int:
    """Find problems in the examples, and suggest what to teach next.

    Problems are wrong labels, for example. Nothing is changed; each problem is printed with the command that fixes it.
    PICTURES (files or folders) are pictures that you could teach; the most useful ones are listed. Without PICTURES,
    they are chosen from the frames that edge watch saved.
    """
    result = app.learner().audit(list(pictures), html)
    app.skipped(result.unreadable)
    app.answer(result, lambda: [*wording.audited(result), *app.counted(result.files, pictures)])
    return app.code(result.files, result.unreadable)
