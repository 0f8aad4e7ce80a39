"""How photos are made square: one word in the bundle, the same pixels on the workstation and on the device."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from edge.bundle.manifest import FITS, BackboneInfo
from edge.network import photos
from export.bundle import adapted
from export.bundle.adapted import Adaptation
from export.cli import main
from export.compare.material import read_material
from export.network.form import fingerprint, short_side
from export.photos.cut_off import CutOff, cut_off, warning
from export.photos.folders import read_pixels

pytestmark = pytest.mark.usefixtures("exported_once")

SIZE = 32


def panoramas(folder: Path, count: int = 6, shape: tuple[int, int] = (800, 200)) -> Path:
    """Write two labels of photos, told apart at their left end."""
    random = np.random.default_rng(0)
    for label, colour in {"left": (200, 60, 60), "right": (60, 60, 200)}.items():
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(60, 200, (shape[1], shape[0], 3), dtype=np.uint8)
            pixels[:, : shape[0] // 5] = np.array(colour) + random.integers(-50, 50, 3)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


class Seeing:
    """A network that keeps what it is shown."""

    def __init__(self) -> None:
        self.pixels: list[NDArray[np.uint8]] = []

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.pixels += list(images)
        return np.zeros((len(images), 4), np.float32)


@pytest.mark.parametrize("fit", FITS)
def test_build_adapt_and_the_device_see_the_same_pixels(
    tmp_path: Path, fit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from export.photos.folders import find_photos

    monkeypatch.setattr("edge.network.photos.cores", lambda: 1)  # one worker, so that the order is that of the files
    found = find_photos(panoramas(tmp_path / "photos", 2))
    info = BackboneInfo("seeing", "0" * 64, "", "", SIZE, short_side(SIZE), 4, fit)
    network: Any = Seeing()
    assert all(photo.error is None for photo in photos.embed(found.paths, network, info))
    seen = np.stack(network.pixels)
    np.testing.assert_array_equal(read_pixels(found.paths, SIZE, short_side(SIZE), fit), seen)
    material = read_material(found, SIZE, lambda done, total: None, fit=fit)
    np.testing.assert_array_equal(material.centres, seen)
    assert material.squares.shape[1:] == (short_side(SIZE), short_side(SIZE), 3)


def test_embeddings_of_another_fit_are_of_another_backbone_and_cropped_ones_of_the_one_they_were(
    tiny: torch.nn.Module,
) -> None:
    prints = {fingerprint(tiny, SIZE, fit) for fit in FITS}
    assert len(prints) == 3
    assert fingerprint(tiny, SIZE) == fingerprint(tiny, SIZE, "crop")


@pytest.mark.parametrize(
    ("shape", "expected", "where"),
    [
        ((800, 200), CutOff(1 - 175 / 800, 1 / 8), "78 % of the typical photo is cut off at the sides"),
        ((200, 800), CutOff(1 / 8, 1 - 175 / 800), "78 % of the typical photo is cut off at the top and bottom"),
        ((320, 180), CutOff(1 - 7 / 8 * 9 / 16, 1 / 8), None),
        ((200, 200), CutOff(1 / 8, 1 / 8), None),
    ],
)
def test_what_is_cut_off_is_measured_and_said_where_it_is_much(
    tmp_path: Path, shape: tuple[int, int], expected: CutOff, where: str | None
) -> None:
    paths = sorted(panoramas(tmp_path / "photos", 3, shape).rglob("*.png"))
    cut = cut_off(paths, 224, 256, "crop")
    assert cut == pytest.approx(expected)
    line = warning(cut)
    assert (line is None) if where is None else where in str(line)
    assert cut_off(paths, 224, 256, "pad") == CutOff(0, 0)


def test_a_photo_that_lies_on_its_side_is_measured_as_it_is_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (800, 200)).save(tmp_path / "turned.jpg", exif=exif)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    cut = cut_off([tmp_path / "turned.jpg", tmp_path / "broken.jpg"], 224, 256, "crop")
    assert cut == pytest.approx(CutOff(1 / 8, 1 - 175 / 800))


@pytest.mark.converters
def test_a_padded_bundle_says_so_and_tells_apart_what_cropping_does_not_see(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = panoramas(tmp_path / "photos", 10)
    found = {}
    for fit in ("crop", "pad"):
        bundle = tmp_path / f"{fit}.edge"
        command = ["build", folder, "-o", bundle, "--runtime", "onnx", "--precision", "fp32", "--json"]
        command += ["--backbone", "embedded"]
        monkeypatch.setattr(
            sys, "argv", ["edge-export", *map(str, command), *(["--fit", fit] if fit != "crop" else [])]
        )
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code
        found[fit] = json.loads(capsys.readouterr().out)
        assert ("78 % of the typical photo is cut off at the sides" in " ".join(found[fit]["warnings"])) == (
            fit == "crop"
        )
    crop, pad = found["crop"], found["pad"]
    assert (crop["backbone"]["fit"], pad["backbone"]["fit"]) == ("crop", "pad")
    assert crop["cut_off"] == pytest.approx({"width": 1 - 175 / 800, "height": 1 / 8})
    assert pad["cut_off"] == {"width": 0, "height": 0}
    assert crop["backbone"]["fingerprint"] != pad["backbone"]["fingerprint"]
    assert crop["accuracy"]["accuracy"] < pad["accuracy"]["accuracy"] == 1
    assert pad["background"] == crop["background"] is not None
    monkeypatch.setattr(sys, "argv", ["edge-export", "check", str(tmp_path / "pad.edge")])
    with pytest.raises(SystemExit):
        main()
    assert "padded to squares" in capsys.readouterr().out


def test_an_adapted_folder_brings_its_fit_and_older_ones_crop(tmp_path: Path) -> None:
    adaptation = Adaptation(
        created="2026-01-01T00:00:00+00:00", program="", photos="", backbone="embedded", size=224, taps=(), origin="",
        licence="", strategy="head", accuracy=1.0, low=0.5, high=1.0, trained=(), held_out=(), report={},
        format=2, fit="stretch",
    )  # fmt: skip
    adapted.write(tmp_path, adaptation)
    assert adapted.read(tmp_path) == adaptation
    raw = json.loads((tmp_path / adapted.JSON).read_text())
    del raw["fit"]
    (tmp_path / adapted.JSON).write_text(json.dumps({**raw, "format": 1}))
    assert adapted.read(tmp_path).fit == "crop"
