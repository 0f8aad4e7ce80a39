"""The commands that bring a bundle to devices: `sign`, `deploy`. Like `cli`, they parse, call, and print."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from edge.terminal import complain, plural, say, say_json
from export import cli

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("bundle", type=_PATH)
@click.option("--key", required=True, type=_PATH, help="Your private key, as `ssh-keygen -t ed25519` makes it.")
@cli.shared
def sign(bundle: Path, key: Path) -> None:
    """Sign BUNDLE, so that devices know who sent it.

    Devices that pin your key (edge init --trust KEY.pub) take bundles of yours alone, and none signed before the newest
    that they have. Signing an older bundle again lets them go back to it.
    """
    from edge.signature import signer
    from export.sign import sign as sign_bundle

    def ask() -> str | None:
        return click.prompt(f"passphrase of {key}", hide_input=True, err=True) if sys.stdin.isatty() else None

    signed = sign_bundle(bundle, key, datetime.now(UTC).isoformat(timespec="seconds"), ask)
    assert signed.signature is not None
    by = signer(signed.signature).fingerprint
    if cli.as_json():
        say_json({"bundle": str(bundle), "signed": signed.manifest.signed, "key": by})
        return
    say(f"{bundle}: signed {signed.manifest.signed} with {by}")
    say(f"next, on a device: edge init {bundle.name} --trust {key.name}.pub")


@click.command()
@click.argument("bundle", type=_PATH)
@click.argument("host", metavar="[USER@]HOST")
@click.option("--offline", is_flag=True, help="Send everything from here: the device needs no network.")
@cli.shared
def deploy(bundle: Path, host: str, offline: bool) -> None:
    """Install BUNDLE, and this program, on a device by ssh.

    The bundle serves there once its golden pictures give the right embeddings on the device; until then, and if they do
    not, what served goes on serving. If the connection breaks, the same command goes on.
    """
    from export.deploy import deploy as deploy_bundle

    result = deploy_bundle(bundle, host, offline, complain)
    status = result.status
    if cli.as_json():
        say_json({**status, "host": host, "warnings": [finding._asdict() for finding in result.warnings]})
        return
    for finding in result.warnings:
        complain(f"careful: {finding.check}: {finding.seen}")
        complain(f"    → {finding.remedy}")
    taught = sum(label["local"] for label in status["labels"])
    say(
        f"{host} serves {status['bundle']}: generation {status['generation']}, {plural(taught, 'example')} taught there"
    )


for _command in (sign, deploy):
    cli.add(_command)
