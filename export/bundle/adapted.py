"""The folder that `adapt` leaves and `build` takes: weights.safetensors, adapted.json, report.html.

adapted.json says which network, which photos it was trained on and which were held out (by the SHA-256 of their
files, so that a photo is known again wherever it lies), and every figure that the report shows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.bundle.manifest import FITS
from edge.errors import BundleError
from edge.files import replacing
from edge.metrics.figures import read_json

if TYPE_CHECKING:
    from export.network.backbones import Loaded

FORMAT = 2  # the newest that is read; 1 is written where photos are cropped, the only way that it knows
JSON, WEIGHTS, REPORT = "adapted.json", "weights.safetensors", "report.html"


@dataclass(frozen=True)
class Adaptation:
    """What adapted.json says.

    Args:
        created: ISO 8601, UTC.
        program: Who wrote it.
        photos: The folder of class folders that it was adapted to.
        backbone, size: The network, and pixels per side of its input.
        taps: Numbers of the blocks whose maps join its embedding.
        origin, licence: Of the weights that it began with.
        strategy: The one that was kept.
        accuracy, low, high: Accuracy of the device's head on the validation photos, and its 95 % interval.
        trained: SHA-256 of the photos that the network was trained on; none if the strategy trains nothing.
        held_out: SHA-256 of those that were not.
        report: Everything else that was measured, for people and programs.
        format: Of this file.
        fit: How photos were made square: a name of `edge.bundle.manifest.FITS`.
    """

    created: str
    program: str
    photos: str
    backbone: str
    size: int
    taps: tuple[int, ...]
    origin: str
    licence: str
    strategy: str
    accuracy: float
    low: float
    high: float
    trained: tuple[str, ...]
    held_out: tuple[str, ...]
    report: Mapping[str, Any]
    format: int = 1
    fit: str = "crop"


def is_adapted(folder: Path) -> bool:
    """Whether a folder is what `adapt` wrote."""
    return (folder / JSON).is_file()


def write(folder: Path, adaptation: Adaptation) -> None:
    """Write adapted.json, whole or not at all."""
    with replacing(folder / JSON) as partial:
        partial.write_text(json.dumps(asdict(adaptation), indent=1), encoding="utf-8")  # ASCII: paths of any bytes


def read(folder: Path) -> Adaptation:
    """Read adapted.json, believing only what has its type.

    Raises:
        BundleError: It is missing, damaged, or of a newer program.
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


def load(folder: Path, adaptation: Adaptation) -> Loaded:
    """Load the adapted network.

    Raises:
        BundleError: weights.safetensors is missing or does not fit.
    """
    from export.network import backbones

    loaded = backbones.load(adaptation.backbone, str(folder / WEIGHTS), taps=adaptation.taps)
    origin = f"{adaptation.origin}; adapted ({adaptation.strategy})"
    row = replace(loaded.backbone, size=adaptation.size)
    return replace(loaded, backbone=row, origin=origin, licence=adaptation.licence)
