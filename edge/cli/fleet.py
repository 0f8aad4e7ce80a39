"""The commands of a fleet: `contribute`, `follow`."""

from pathlib import Path

import click

from edge.cli import app
from edge.cli.terminal import PATH, Progress
from edge.text import percent, plural


@click.command()
@click.argument("url", envvar="EDGE_FLEET")
@click.option("--moments", is_flag=True, help="Send only sums of the examples, which hide single pictures.")
@click.option("--key", type=PATH, metavar="FILE", help="Sign with this private key, made by ssh-keygen -t ed25519.")
@click.option(
    "--id",
    "identity",
    type=click.Choice(["new", "keep"]),
    help="new: this box was copied from another one. keep: it was restored from a backup.",
)
@app.shared
def contribute(url: str, moments: bool, key: Path | None, identity: str | None) -> None:
    """Send the examples taught here to the fleet's store at URL.

    URL is s3://BUCKET/FOLDER, gs://…, az://…, https://… or file:///FOLDER. Embeddings, labels and times are sent, no
    pictures. If nothing has changed since the last time, nothing is sent. Without URL, $EDGE_FLEET is used.
    """
    result = app.learner().contribute(url, moments=moments, key=key, identity=identity)
    what = f"{plural(result.examples, 'example')} of {plural(len(result.labels), 'label')}"
    told = f"{what}{' as sums' if result.form == 'moments' else ''}, {result.bytes / 1000:.1f} kB"
    if result.sent:
        line = f"sent contribution {result.sequence} of device {result.device[:8]} to {result.url}: {told}"
    else:
        line = f"nothing new: {result.url} has contribution {result.sequence} of device {result.device[:8]} ({what})"
    app.answer(result, lambda: [line])


@click.command()
@click.argument("url", envvar="EDGE_FLEET")
@app.shared
def follow(url: str) -> None:
    """Take the release at URL that is meant for this device.

    It is tested on this machine as edge init does, and a new model is trained. If that is clearly worse for what was
    taught here, everything stays as it is, and the next contribution says so. Without URL, $EDGE_FLEET is used.
    """
    result = app.learner().follow(url, Progress("downloading"))
    accuracy = f", {percent(result.loo_accuracy)} correct" if result.loo_accuracy is not None else ""
    serves = f"{result.bundle}, generation {result.generation}{accuracy}"
    if result.release is None:
        line = f"{result.url} has no release for device {result.device[:8]}; in use: {serves}"
    elif result.verdict == "accepted":
        line = f"release {result.release} is in use{'' if result.new else ' already'}: {serves}"
    else:
        line = f"release {result.release} was refused{'' if result.new else ' before'}: {result.why}; in use: {serves}"
    app.answer(result, lambda: [line])
