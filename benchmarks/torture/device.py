"""A real device of a few kilobytes to be tortured: the tests' tiny network, bundles of it, endless new pictures."""

import io
from dataclasses import dataclass
from pathlib import Path

from edge.network import backbone
from edge.network.backbone import RUNTIMES, Backbone
from edge.picture.frame import Frame
from tests.edge.conftest import COLOURS, MODELS, picture, write_bundle, write_pictures

LABELS = tuple(COLOURS)


@dataclass(frozen=True)
class Device:
    """Two bundles of one backbone: what a home is made of, and what it is upgraded to."""

    bundle: Path
    newer: Path


def make(folder: Path) -> Device:
    """Write the bundles into a folder."""
    tiny = network()
    first = write_pictures(folder / "first", {"brick": 6, "grass": 6, "gravel": 6})
    second = write_pictures(folder / "second", {"brick": 8, "coins": 6, "grass": 8, "gravel": 8}, first=50)
    return Device(write_bundle(folder / "tiny.edge", first, tiny), write_bundle(folder / "newer.edge", second, tiny))


def warm() -> None:
    """Import now all that a command would, so that processes forked from this one start at once."""
    import edge.audit.page
    import edge.retraining.retrain  # noqa: F401

    backbone.load_runtime(backbone.find_runtime({r.format for r in RUNTIMES}).name)


def network() -> Backbone:
    """The tiny network on the first runtime that is here.

    Raises:
        RuntimeMissing: there is none.
    """
    runtime = backbone.find_runtime({r.format for r in RUNTIMES})
    return backbone.open_backbone(MODELS[runtime.format].read_bytes(), runtime, threads=1)


def frame(label: str, seed: int) -> Frame:
    """A new picture of a label; each seed gives another."""
    data = io.BytesIO()
    picture(label, seed).save(data, "PNG")
    return Frame(f"{label} {seed}", data.getvalue(), 0.0)
