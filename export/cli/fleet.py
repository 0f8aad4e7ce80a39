"""`edge-export fleet`: what many devices contributed becomes one bundle, and is released step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.cli.terminal import PARTLY, PATH, Progress, say, say_json, say_json_list
from edge.fleet.remote import open_remote
from edge.text import plural
from export.cli import app, fleet_words

if TYPE_CHECKING:
    from edge.bundle.archive import Bundle
    from export.fleet.gather import Rules

_BASE = click.option(
    "--base", type=PATH, help="The bundle that the devices run.  [default: the newest release in the store]"
)
_LABELS = click.option(
    "--labels",
    type=PATH,
    help="File of labels that count as others; `edge-export fleet status --propose` writes one to be confirmed.",
)
_MOST = click.option(
    "--per-device",
    "most",
    type=click.IntRange(1),
    help="Examples of one device that count, at most.  [default: 256]",
)
_SIGNERS = click.option(
    "--signers", type=PATH, help="Accept only contributions signed by a key in this allowed-signers file of OpenSSH's."
)


@click.group()
def fleet() -> None:
    """Merge what many devices were taught, and release the result.

    URL is the store that the devices share: s3://BUCKET/FOLDER, gs://…, az://…, https://… or file:///FOLDER.
    """


@fleet.command()
@click.argument("url")
@click.option("-o", "--output", required=True, type=PATH, help="File to write, ending in .edge.")
@_BASE
@_LABELS
@_MOST
@_SIGNERS
@app.shared
@app.interrupted("no bundle was written")
def merge(
    url: str, output: Path, base: Path | None, labels: Path | None, most: int | None, signers: Path | None
) -> int:
    """Merge the newest contribution of each device in URL into one bundle.

    Damaged contributions and those of another backbone are left out and named; undone devices are left out. The same
    contributions give the same bundle, byte for byte, whatever their order.
    """
    from export.fleet import merge as merging
    from export.fleet.releases import base as base_of

    remote = open_remote(url)
    with base_of(remote, base) as path:
        merged = merging.merge(remote, path, output, _rules(labels, most, signers), Progress("merging"))
    if app.as_json():
        say_json({
            "bundle": str(output),
            "devices": merged.devices,
            "examples": merged.examples,
            "factory_examples": merged.factory,
            "shipped": merged.shipped,
            "labels": merged.labels,
            "accuracy": fleet_words.figure(merged.accuracy),
            "accuracy_of_all": fleet_words.figure(merged.accuracy_of_all),
            "refused": [asdict(one) for one in merged.refused],
            "undone": list(merged.undone),
            "doubled": list(merged.doubled),
            "signed": merged.signed,
            "signatures_checked": merged.checked,
        })  # fmt: skip
    else:
        fleet_words.complain_of(merged.refused)
        own = f", beside {merged.factory:,} of the workstation's own" * bool(merged.factory)
        say(f"{output}: {plural(merged.examples, 'example')} of {plural(merged.devices, 'device')}{own}")
        if merged.shipped < merged.examples:
            say(
                f"  it ships {merged.shipped:,} of them, those of a sample of whole devices, and a device fits to these"
            )
        if merged.accuracy:
            say(f"accuracy with each device left out: {fleet_words.said(merged.accuracy)}")
        if merged.accuracy_of_all and merged.accuracy and merged.shipped < merged.examples:
            say(f"  of a head fitted to all examples: {fleet_words.said(merged.accuracy_of_all)}")
        if not merged.accuracy:
            say("accuracy: cannot be measured yet; at least two devices must use the same labels")
        for what, devices in (("undone", merged.undone), ("sharing an id with another box", merged.doubled)):
            if devices:
                say(f"{what}: {', '.join(devices[: fleet_words.SHOWN])}")
        say(fleet_words.signatures(merged.signed, merged.devices, merged.checked))
        say(f"next: edge-export fleet publish {url} {output} --percent 10")
    return PARTLY if merged.refused else 0


@fleet.command()
@click.argument("url")
@_BASE
@_LABELS
@_MOST
@_SIGNERS
@click.option("--propose", type=PATH, help="Write labels that may mean the same to this file, to be confirmed by you.")
@app.shared
def status(
    url: str,
    base: Path | None,
    labels: Path | None,
    most: int | None,
    signers: Path | None,
    propose: Path | None,
) -> int:
    """List the devices in URL, the suspicious ones first, and say why.

    For each device: how many of its examples the others' head gets right (FLEET), its own head (ALONE), and whether
    others are answered better without it.
    """
    from export.fleet import synonyms
    from export.fleet.releases import base as base_of
    from export.fleet.report import report

    remote = open_remote(url)
    with base_of(remote, base) as path:
        found = report(remote, path, _rules(labels, most, signers), Progress("reading"))
    if propose is not None:
        _write(propose, synonyms.write(found.proposals, synonyms.read(labels) if labels else {}))
    refused = [line.refused for line in found.lines if line.refused and not line.undone]
    if app.as_json():
        about = {
            "accuracy": fleet_words.figure(found.accuracy),
            "unmeasured": found.unmeasured,
            "proposals": [one._asdict() for one in found.proposals],
        }
        say_json_list("devices", (fleet_words.device(line) for line in found.lines), about)
    else:
        fleet_words.complain_of(refused)
        for line in fleet_words.status_lines(found):
            say(line)
        if found.proposals:
            more = f"; written to {propose}" if propose else "; to write them to a file: --propose FILE"
            say(f"{plural(len(found.proposals), 'pair')} of labels may mean the same{more}")
    return PARTLY if refused else 0


@fleet.command()
@click.argument("url")
@click.argument("bundle", type=PATH, required=False)
@click.option("--percent", required=True, type=click.IntRange(0, 100), help="Share of the devices that shall take it.")
@app.shared
def publish(url: str, bundle: Path | None, percent: int) -> None:
    """Let a share of the devices take BUNDLE, or change the share of the newest release.

    Which devices is decided by a hash of their id, and those of a small share are among those of a larger one. To raise
    a release, publish it again with a larger share. With --percent 0 it is taken back: the devices that took it return
    to the one before. A device takes a release with `edge follow`, and refuses it if it is worse there.
    """
    from export.fleet.releases import publish as publish_release

    published = publish_release(open_remote(url), bundle, percent)
    plan, (taking, known) = published.plan, published.devices
    if app.as_json():
        say_json({
            "release": plan.release,
            "sha256": plan.sha256,
            "size": plan.size,
            "percent": plan.percent,
            "previous": plan.previous,
            "plan": published.sequence,
            "changed": published.changed,
            "devices": known,
            "taking": taking,
        })  # fmt: skip
        return
    rest = f"release {plan.previous}" if plan.previous is not None else "what they have"
    say(f"release {plan.release}: for {plan.percent} % of the devices, the others keep {rest}")
    say(f"  {taking:,} of {plural(known, 'device')} in the store will take it with their next `edge follow`")
    if not published.changed:
        say("this was the plan already; nothing was changed")


@fleet.command()
@click.argument("hosts", metavar="[USER@]HOST...", nargs=-1, required=True)
@click.option(
    "-o", "--output", required=True, metavar="FOLDER|URL", help="Folder or store to put the contributions in."
)
@app.shared
@app.interrupted("what was collected stays there; run the command again for the rest")
def collect(hosts: tuple[str, ...], output: str) -> int:
    """Collect over ssh what devices were taught, for fleets without storage that all can reach.

    A folder that was collected is a store: give its URL, file:///FOLDER, to the other commands. To release a bundle to
    such a fleet, use `edge-export deploy`.
    """
    from export.fleet.collect import collect as collect_all

    found = collect_all(hosts, output, lambda one: None if app.as_json() else fleet_words.say_collected(one))
    if app.as_json():
        say_json({
            "output": output,
            "hosts": [
                {
                    "host": one.host, "device": one.device or None, "name": one.name or None, "new": one.new,
                    "examples": one.examples, "error": str(one.error) if one.error else None,
                    "code": one.error.code if one.error else None,
                }
                for one in found
            ],
        })  # fmt: skip
    return PARTLY if any(one.error for one in found) else 0


@fleet.command()
@click.argument("url")
@click.argument("device")
@click.option("--back", is_flag=True, help="Let it count again.")
@app.shared
def undo(url: str, device: str, back: bool) -> None:
    """Leave DEVICE out of every merge from now on; the beginning of its id is enough.

    Nothing of it is deleted. The next merge gives the bundle that it would have given had the device never joined.
    """
    from export.fleet import undo as undoing

    remote = open_remote(url)
    found = undoing.find_device(remote, device)
    changed = undoing.undo(remote, found, app.now(), back)
    if app.as_json():
        say_json({"device": found, "undone": not back, "changed": changed})
        return
    state = "counts again" if back else "is undone"
    say(f"{found} {state}" if changed else f"{found} {'counts' if back else 'was undone'} already; nothing was changed")
    if changed:
        say(f"next: edge-export fleet merge {url} -o NAME.edge")


def _rules(labels: Path | None, most: int | None, signers: Path | None) -> Callable[[Bundle], Rules]:
    """What counts, by the bundle that the devices run; files are read before anything is fetched."""
    from export.fleet.gather import Rules
    from export.fleet.signed import Signers
    from export.fleet.synonyms import read
    from export.pool.cap import MOST

    joined, keys = read(labels) if labels else {}, Signers(signers) if signers else None
    return lambda bundle: Rules(bundle.manifest.backbone, joined, most or MOST, keys)


def _write(path: Path, text: str) -> None:
    from edge.files import check_output, replacing

    check_output(path, "labels.txt", "a file of labels", b"# Labels that may mean the same")
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
