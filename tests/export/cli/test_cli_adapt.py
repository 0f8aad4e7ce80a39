"""`adapt`, `compare` and `build` of what was adapted, as they are typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.export.adapting import enter_tiny, striped_photos, tiny_weights
from tests.export.cli.test_cli import run

pytestmark = [pytest.mark.converters, pytest.mark.usefixtures("exported_once")]

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def tiny_table(monkeypatch: Patch) -> None:
    enter_tiny(monkeypatch)


def test_photos_are_adapted_to_and_bundled(capfd: Capture, monkeypatch: Patch, tmp_path: Path) -> None:
    photos, weights = striped_photos(tmp_path / "photos"), tiny_weights(tmp_path / "tiny.pth")
    folder, bundle = tmp_path / "adapted", tmp_path / "stripes.edge"
    network = ["--backbone", "tiny", "--weights", weights, "--no-flip", "--strategy", "full"]
    code, out, err = run(capfd, monkeypatch, "adapt", photos, "-o", folder, *network)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["strategy", "what", "changes", "validation", "accuracy", "minutes", "changed"]
    assert [line.split()[0] for line in lines[1:3]] == ["head", "full"]
    assert lines[3].startswith("kept: full: it was chosen: +")
    assert lines[4].startswith("accuracy ")
    assert "of 16 correct; 95 % interval" in lines[4]
    assert lines[-2:] == [f"next: edge-export build {folder} -o adapted.edge", "80 files: 80 read"]
    assert "80 photos of 2 labels, 16 of them for validation" in err
    assert "\x1b" not in err

    small = ["--runtime", "onnx", "--precision", "fp32"]
    code, out, _ = run(capfd, monkeypatch, "build", folder, "-o", bundle, *small, "--json")
    assert code == 0
    result = json.loads(out)
    assert result["accuracy"]["photos"] == 16
    assert result["backbone"]["weights"] == "file tiny.pth; adapted (full)"

    shutil.move(photos, tmp_path / "moved")
    code, _, err = run(capfd, monkeypatch, "build", folder, "-o", bundle, *small)
    assert (code, err.count("\n")) == (1, 1)
    assert f"are not in {photos}; give --photos FOLDER" in err
    code, out, _ = run(capfd, monkeypatch, "build", folder, "-o", bundle, *small, "--photos", tmp_path / "moved")
    assert code == 0
    assert "16 correct; 95 % interval" in out


def test_adapting_tells_programs_everything(capfd: Capture, monkeypatch: Patch, tmp_path: Path) -> None:
    photos, weights = striped_photos(tmp_path / "photos", 15), tiny_weights(tmp_path / "tiny.pth")
    (photos / "left" / "bad.png").write_text("no picture")
    arguments = ["adapt", photos, "-o", tmp_path / "out", "--backbone", "tiny", "--weights", weights]
    code, out, _err = run(capfd, monkeypatch, *arguments, "--strategy", "head", "--json")
    result = json.loads(out)
    assert code == 3
    assert result["strategy"] == "head"
    assert result["photos"] == 30
    assert [row["name"] for row in result["strategies"]] == ["head"]
    assert result["skipped"][0]["path"].endswith("bad.png")
    assert result["baselines"]["photos"] == 30


def test_networks_are_ranked_and_drawn(capfd: Capture, monkeypatch: Patch, tmp_path: Path) -> None:
    photos, weights = striped_photos(tmp_path / "photos"), tiny_weights(tmp_path / "tiny.pth")
    network, plot = ["--backbone", f"tiny={weights}", "--size", "32"], tmp_path / "plot.png"
    code, out, _ = run(capfd, monkeypatch, "compare", photos, *network, "--plot", plot)
    assert code == 0
    assert out.splitlines()[0].split()[:3] == ["network", "pixels", "accuracy"]
    assert "← recommended" in out
    assert "16 × 16 pixels without one" in out
    assert plot.stat().st_size > 5000
    code, out, _err = run(capfd, monkeypatch, "compare", photos, *network, "--backbone", "tiny=no.pth", "--json")
    result = json.loads(out)
    assert code == 3
    assert result["take"] == {"backbone": "tiny", "weights": str(weights), "size": 32}
    assert [line.split("; ")[0] for line in result["failed"]] == ["tiny=no.pth 32: weights file no.pth does not exist"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["adapt", "{}/none", "-o", "{}/out"], 1, "is not a folder"),
        (["adapt", "{}/photos", "-o", "{}/no/out"], 1, "does not exist; create it first"),
        (["adapt", "{}/photos", "-o", "{}/out", "--strategy", "magic"], 2, "magic"),
        (["adapt", "{}/photos", "-o", "{}/out", "--minutes", "0"], 2, "--minutes"),
        (["adapt", "{}/photos", "-o", "{}/out", "--group-by", "folder"], 1, "two groups are needed"),
        (["compare", "{}/photos", "--plot", "x.txt"], 2, "must end in .svg, .png or .pdf"),
        (["build", "{}/photos", "-o", "{}/x.edge", "--photos", "{}"], 2, "is not one"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    capfd: Capture, monkeypatch: Patch, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    striped_photos(tmp_path / "photos", 4)
    network = ["--backbone", "tiny", "--weights", str(tiny_weights(tmp_path / "tiny.pth"))]
    filled = [argument.format(tmp_path) for argument in arguments]
    got, out, err = run(capfd, monkeypatch, *filled, *(network if filled[0] == "adapt" else []))
    assert (got, out) == (code, "")
    assert message in err.splitlines()[-1]
