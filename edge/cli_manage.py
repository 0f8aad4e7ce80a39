"""The commands for what was taught: `examples`, `relabel`, `rename`, `forget`. They parse, call, and print."""

import click

from edge import cli, wording
from edge.terminal import complain, plural, say, say_json_list


@click.command()
@click.argument("label", required=False)
@cli.shared
def examples(label: str | None) -> None:
    """List what was taught here, all of it or one LABEL.

    The numbers are those that relabel and forget take.
    """
    from edge.answers import to_json

    opened = cli.learner()
    found = opened.list_examples(label)
    if cli.as_json():
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
@click.option("--session", help="Forget all examples of this session.")
@click.option("--label", help="Forget this label and all of its examples, the factory's too.")
@cli.shared
def forget(examples: tuple[str, ...], session: str | None, label: str | None) -> None:
    """Forget EXAMPLES as if they had never been taught, and refit.

    EXAMPLES are numbers, as edge examples prints them, or the picture files themselves.
    """
    if not examples and session is None and label is None:
        raise click.UsageError("name examples, or give --session or --label")
    result = cli.learner().forget(examples, session, label)
    cli.answer(result, lambda: wording.forgotten(result))


@click.command()
@click.argument("label")
@click.argument("examples", nargs=-1, required=True)
@cli.shared
def relabel(label: str, examples: tuple[str, ...]) -> None:
    """Give EXAMPLES another LABEL, old or new.

    EXAMPLES are numbers, as edge examples prints them, or the picture files themselves. Then: edge retrain.
    """
    opened = cli.learner()
    complaints = opened.beside(label)
    changed = opened.relabel(examples, label)
    for line in complaints:
        complain(f"careful: {line}")
    cli.answer(changed, lambda: [f"{plural(len(changed), 'example')} now '{changed[0].label}'; now run: edge retrain"])


@click.command()
@click.argument("old")
@click.argument("new")
@click.option(
    "--merge", is_flag=True, help="Make one label of both, if there is a label NEW already. It cannot be undone."
)
@cli.shared
def rename(old: str, new: str, merge: bool) -> None:
    """Rename label OLD to NEW, at once and everywhere.

    With --merge, all examples of OLD become examples of NEW, and a new head is fitted at once.
    """
    opened = cli.learner()
    complaints = opened.beside(new, leaving=old)
    result = opened.rename(old, new, merge)
    for line in complaints:
        complain(f"careful: {line}")
    cli.answer(result, lambda: wording.renamed(result))


for _command in (examples, forget, relabel, rename):
    cli.add(_command)
