"""The commands that bring a bundle to devices and people: `sign`, `deploy`, `card`."""

from __future__ import annotations

from pathlib import Path

import click

from edge.cli.terminal import PATH, complain, say, say_json
from edge.text import plural
from export.cli import app


@click.command()
@click.argument("bundle", type=PATH)
@click.option("--key", required=True, type=PATH, help="Your private key, made with `ssh-keygen -t ed25519`.")
@app.shared
def sign(bundle: Path, key: Path) -> None:
    """Sign BUNDLE, so that devices can verify that it comes from you.

    A device that trusts your key (edge init --trust KEY.pub) accepts only bundles signed with it, and none signed
    before the newest one it has installed. To let devices go back to an older bundle, sign that bundle again.
    """
    from edge.bundle import archive, signature

    signed = archive.sign(archive.read(bundle), app.now(), lambda text: signature.sign(text, key))
    assert signed.signature is not None
    by = signature.signer(signed.signature).fingerprint
    if app.as_json():
        say_json({"bundle": str(bundle), "signed": signed.manifest.signed, "key": by})
        return
    say(f"{bundle}: signed {signed.manifest.signed} with {by}")
    say(f"next, on a device: edge init {bundle.name} --trust {key.name}.pub")


@click.command()
@click.argument("bundle", type=PATH)
@click.argument("host", metavar="[USER@]HOST")
@click.option(
    "--offline", is_flag=True, help="Send all packages from this machine; the device needs no internet access."
)
@app.shared
def deploy(bundle: Path, host: str, offline: bool) -> None:
    """Install BUNDLE and this program on a device over ssh.

    The device switches to the bundle only after the bundle's test pictures give the right results there; otherwise it
    keeps using the one it has. If the connection breaks, run the same command again to continue.
    """
    from export.deploy.push import deploy as deploy_bundle

    result = deploy_bundle(bundle, host, offline, complain)
    status = result.status
    if app.as_json():
        say_json({**status, "host": host, "warnings": [finding._asdict() for finding in result.warnings]})
        return
    for finding in result.warnings:
        complain(f"warning: {finding.check}: {finding.seen}")
        complain(f"    → {finding.remedy}")
    taught = sum(label["local"] for label in status["labels"])
    say(f"{host} uses {status['bundle']}: generation {status['generation']}, {plural(taught, 'example')} taught there")


@click.command()
@click.argument("bundle", type=PATH)
@click.option("-o", "--output", type=PATH, help="File to write, ending in .md.  [default: print it]")
@app.shared
def card(bundle: Path, output: Path | None) -> None:
    """Print the model card of BUNDLE as Markdown.

    The card is what Hugging Face calls a model card. `build` puts it into the bundle; for an older bundle, it is made
    from what the bundle says of itself.
    """
    from edge.bundle import archive
    from export.written import write_card

    opened = archive.read(bundle)
    opened.verify()
    text = opened.manifest.card or archive.described(opened.manifest, opened.stored_examples())
    if output is not None:
        write_card(output, text)
    if app.as_json():
        say_json({"bundle": str(bundle), "file": None if output is None else str(output), "card": text})
    elif output is None:
        for line in text.splitlines():
            say(line)
    else:
        say(f"{output}: the card of {bundle.name}; put it beside the bundle, as README.md on Hugging Face")
