"""The folder that `adapt` writes and `build` reads: weights.safetensors, adapted.json, report.html.

adapted.json names the network, the photos that it was trained on and those that were held out (by the SHA-256 of their
files, so that photos are recognised after they were moved), and every figure in the report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from edge.bundle.manifest import FITS
from edge.errors import BundleError
from edge.files import replacing
from edge.metrics.figures import read_json
from export.network import backbones

FORMAT = 2  # the newest that is read; 1 is written where photos are cropped, the only way that it knows
JSON, WEIGHTS, REPORT = "adapted.json", "weights.safetensors", "report.html"


@dataclass(frozen=True)
class Adaptation:
    """The contents of adapted.json."""

    created: str  # ISO 8601, UTC
    program: str  # name and version of the program that wrote it
    photos: str  # the folder of class folders that it was adapted to
    backbone: str
    size: int  # pixels per side of the network's input
    taps: tuple[int, ...]  # numbers of the blocks whose maps join its embedding
    origin: str  # origin of the weights from which training started
    licence: str  # licence of these weights
    strategy: str  # the strategy that was kept
    accuracy: float  # accuracy of the device's head on the validation photos
    low: float  # start of its 95 % interval
    high: float  # end of its 95 % interval
    trained: tuple[str, ...]  # SHA-256 of the photos that the network was trained on; empty if it was not
    held_out: tuple[str, ...]  # SHA-256 of the other photos
    report: Mapping[str, Any]  # everything else that was measured
    format: int = 1  # the file's format version
    fit: str = "crop"  # how photos were made square: a name of `edge.bundle.manifest.FITS`


def is_adapted(folder: Path) -> bool:
    """Whether a folder was written by `adapt`."""
    return (folder / JSON).is_file()


def write(folder: Path, adaptation: Adaptation) -> None:
    """Write adapted.json, whole or not at all."""
    with replacing(folder / JSON) as partial:
        partial.write_text(json.dumps(asdict(adaptation), indent=1), encoding="utf-8")  # ASCII: paths of any bytes


def read(folder: Path) -> Adaptation:
    """Read adapted.json, and check the type of every field.

    Raises:
        BundleError: The file is missing, damaged, or was written by a newer program.
    """
    path = folder / JSON
    kinds: dict[str, type] = {"str": str, "int": int, "float": float, "tuple[str, ...]": list, "tuple[int, ...]": list}
    try:
        raw = read_json(path.read_text(encoding="utf-8"))
        if raw["format"] > FORMAT:
            raise BundleError(
                "too-new",
                f"{path} is of format {raw['format']}, but this version reads only {FORMAT}; upgrade edge-transfer",
            )
        values = {field.name: {"fit": "crop", **raw}[field.name] for field in fields(Adaptation)}
        if values["fit"] not in FITS:
            raise ValueError(f"fit is {str(values['fit'])[:40]!r}")
        for field in fields(Adaptation):
            if not isinstance(values[field.name], kinds.get(str(field.type), dict)):
                raise TypeError(f"{field.name} is {str(values[field.name])[:40]!r}")
    except FileNotFoundError:
        raise BundleError(
            "adapted-folder-invalid", f"{folder} contains no {JSON}; run edge-export adapt first"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(
            "adapted-folder-invalid", f"{path} is damaged ({error}); run edge-export adapt again"
        ) from error
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return Adaptation(**{**values, **lists})


def load(folder: Path, adaptation: Adaptation) -> backbones.Loaded:
    """Load the adapted network.

    Raises:
        BundleError: weights.safetensors is missing or does not fit.
    """
    loaded = backbones.load(adaptation.backbone, str(folder / WEIGHTS), taps=adaptation.taps)
    origin = f"{adaptation.origin}; adapted ({adaptation.strategy})"
    row = replace(loaded.backbone, size=adaptation.size)
    return replace(loaded, backbone=row, origin=origin, licence=adaptation.licence)
