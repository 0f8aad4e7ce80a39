"""The commands that maintain a home and its machine: `doctor`, `verify`, `backup`, `restore`."""

from pathlib import Path

import click

from edge.cli import app, wording
from edge.cli.terminal import PATH
from edge.text import plural


@click.command()
@app.shared
def verify() -> int:
    """Check the whole home for damage, and repair it where possible.

    Examples are never deleted. If a problem needs your attention, it is printed and the exit code is 1.
    """
    from edge.care.verify import verify

    found = verify(app.home())
    app.answer(found, lambda: wording.verified(found))
    return 0 if all(finding.ok for finding in found.findings) else 1


@click.command()
@click.argument("file", type=PATH)
@app.shared
def backup(file: Path) -> None:
    """Save the whole home, including the bundle, to one FILE.

    The home can stay in use meanwhile. To get it back, run edge restore FILE.
    """
    from edge.care.backup import backup

    made = backup(app.learner(), file)
    app.answer(
        made,
        lambda: [
            f"wrote {made.file} ({made.bytes / 1e6:.1f} MB): {plural(made.examples, 'example')}, generation "
            f"{made.generation}, and the bundle; to restore it, run: edge restore {made.file}"
        ],
    )


@click.command()
@click.argument("file", type=PATH)
@app.shared
def restore(file: Path) -> None:
    """Create a home from a backup FILE.

    An existing home is never overwritten.
    """
    from edge.care.backup import restore

    restore(file, app.home())
    status = app.learner().status()
    app.answer(status, lambda: wording.status(status))


@click.command()
@click.argument("pictures", nargs=-1, type=PATH)
@click.option("--bundle", type=PATH, help="Also check that this bundle works here, without installing it.")
@app.shared
def doctor(pictures: tuple[Path, ...], bundle: Path | None) -> int:
    """Check this machine and the home, and say how to fix problems.

    PICTURES (files or folders) from your camera are compared with the pictures the bundle was made from, to find out
    whether they are too dark, blurred or of a different scene.
    """
    from edge.care.doctor import examine

    findings = examine(app.home(), pictures, bundle)
    app.answer(findings, lambda: wording.findings(findings))
    return 0 if all(finding.ok for finding in findings) else 1
