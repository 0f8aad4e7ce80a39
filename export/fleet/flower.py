"""The workstation's half of a Flower app: a ServerApp that asks each node once, stores the answers and merges them.

One round: all SuperNodes that are connected are asked, and each answer is checked and stored as in `collect`. A node
that dies is given up when Flower misses its heartbeat, after about a minute; it is named, and the others count. Running
it again is harmless, since what the store has already is not stored again. `edge/fleet/flower.py` is the other half.
"""

from __future__ import annotations

import time
from pathlib import Path

from flwr.app import Context, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp

from edge.errors import FleetError
from edge.fleet.flower import ARRAY, RECORD
from edge.fleet.remote import Remote, open_remote
from edge.text import plural
from export.fleet.collect import Collected, put
from export.fleet.gather import Rules
from export.fleet.merge import merge
from export.fleet.releases import base as base_of

_PATIENCE = 3600.0  # seconds until a node that lives but does not answer is given up
_TOGETHER = 16  # answers in memory at a time
_PAUSE = 1.0  # seconds between two looks for answers


def main(grid: Grid, context: Context) -> None:
    """Collect the contributions of all nodes, and merge them if the run's configuration names an output.

    Args:
        context: its `run_config` has `store`, the URL of a store; `output`, the bundle to write, or ""; and `base`, the
            bundle that the devices run, or "" for the newest release in the store.

    Raises:
        StoreError: the store cannot be opened or refuses; contributions stored so far stay there.
        FleetError: no node contributed, or there is no base.
        BundleError, NotEnough: as in `export.fleet.merge.merge`.
    """
    store = open_remote(str(context.run_config["store"]))
    found = collect(grid, store)
    good = [one for one in found if one.error is None]
    missing = ", ".join(sorted(one.host for one in found if one.error))
    count = (
        f"{len(good)} of {plural(len(found), 'node')} contributed {plural(sum(o.examples for o in good), 'example')}"
    )
    print(f"{count} to {store.url}" + f"; missing: {missing}" * bool(missing))
    if not good:
        raise FleetError("device-failed", "no node contributed; look at the nodes: flwr supernode list")
    output, base = str(context.run_config["output"]), str(context.run_config["base"])
    if not output:
        print(f"next: edge-export fleet merge {store.url} -o NAME.edge")
        return
    with base_of(store, Path(base) if base else None) as path:
        merged = merge(store, path, Path(output), lambda opened: Rules(opened.manifest.backbone), lambda *_: None)
    for refused in merged.refused:
        print(f"left out: {refused.why}")
    print(f"{output}: {plural(merged.examples, 'example')} of {plural(merged.devices, 'device')}")
    print(f"next: edge-export fleet publish {store.url} {output} --percent 10")


def collect(grid: Grid, store: Remote) -> list[Collected]:
    """Ask each connected node once, and store the answers as they come.

    Raises:
        StoreError: the store refuses.
    """
    nodes = {node.node_id: node.name or str(node.node_id) for node in grid.get_nodes()}
    asked = grid.push_messages([Message(RecordDict(), node, MessageType.QUERY, ttl=_PATIENCE) for node in nodes])
    waiting = dict(zip(asked, nodes.values(), strict=True))
    print(f"asked {plural(len(nodes), 'node')}: {', '.join(sorted(nodes.values()))}")
    found: list[Collected] = []
    while waiting:
        ids = list(waiting)
        for first in range(0, len(ids), _TOGETHER):
            for reply in grid.pull_messages(ids[first : first + _TOGETHER]):
                one = _received(store, waiting.pop(reply.metadata.reply_to_message_id), reply, found)
                new = "" if one.new else ", which the store had already"
                print(one.error or f"{one.host}: {plural(one.examples, 'example')} of device {one.device[:8]}{new}")
                found.append(one)
        time.sleep(_PAUSE)
    return found


def _received(store: Remote, node: str, reply: Message, before: list[Collected]) -> Collected:
    """Store a node's answer, unless it has none, or another node contributed under the same device's id."""
    if reply.has_error():
        reason = "".join(c if c.isprintable() else " " for c in reply.error.reason)
        return Collected(node, error=FleetError("device-failed", f"{node}: {reason[:500]}"))
    try:
        data = reply.content.array_records[RECORD][ARRAY].data
    except KeyError:
        return Collected(node, error=FleetError("contribution-invalid", f"{node}: its answer has no contribution"))
    return put(store, node, data, before)


app = ServerApp()
app.main()(main)
