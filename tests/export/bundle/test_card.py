"""A bundle's card: its head is YAML that a parser reads, and every figure is the manifest's."""

import dataclasses
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import archive
from edge.bundle.archive import Bundle, FactoryExamples
from edge.bundle.card import LONG, SHOWN, card
from edge.bundle.manifest import MAX_TEXT, Accuracy, BackboneInfo, Manifest
from edge.labels import clean
from edge.testing import write_bundle, write_photos

MADE = "2026-11-29T20:00:00+00:00"
INFO = BackboneInfo("tiny", "0" * 64, "random numbers", "Apache-2.0", 8, 8, 4)
FIGURES = Accuracy(0.123456789, 0.0512345, 0.98765, 37)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with a measured head, some of whose examples the network was adapted on."""
    root = tmp_path_factory.mktemp("card")
    plain = archive.read(write_bundle(root / "b.edge", write_photos(root / "photos", {"brick": 5, "grass": 4})))
    examples = plain.examples()
    marked = dataclasses.replace(examples, trained_on=np.arange(9) < 3)
    models = {model.file: plain.entry(model.file) for model in plain.manifest.models}
    manifest = dataclasses.replace(plain.manifest, accuracy=FIGURES)
    return archive.write(root / "b.edge", manifest, models, plain.golden(), marked)


def head(text: str) -> Any:
    before, front, _ = text.split("---\n", 2)
    assert before == ""
    return yaml.safe_load(front)


def table(text: str, section: str) -> list[list[str]]:
    rows = [line for line in text.partition(f"## {section}\n")[2].partition("\n## ")[0].splitlines() if line[:1] == "|"]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


def test_every_figure_of_the_card_is_the_manifests(bundle: Bundle) -> None:
    manifest, text = bundle.manifest, bundle.manifest.card or ""
    (result,) = head(text)["model-index"][0]["results"]
    (metric,) = result["metrics"]
    told = manifest.accuracy
    assert told is not None
    assert metric == {"type": "accuracy", "value": told.accuracy,
                      "args": {"low": told.low, "high": told.high, "photos": told.photos}}  # fmt: skip
    assert f"**{told.accuracy:.1%}** of {told.photos} photos" in text
    assert f"{told.low:.1%} to {told.high:.1%}" in text
    examples = bundle.examples()
    counts = {label: int((examples.labels == number).sum()) for number, label in enumerate(manifest.labels)}
    assert (
        {label: int(count) for label, count in table(text, "What it tells apart")} == counts == {"brick": 5, "grass": 4}
    )
    assert "adapted on 3 of them" in text
    files = {row[0]: row[1:] for row in table(text, "The files of the network")}
    assert files == {
        model.file: [model.precision, model.quantization, f"{model.error:.2g}", f"{model.cosine:.5f}"]
        for model in manifest.models
    }
    numbers = {float(number) for number in re.findall(r"(?<![\w.-])\d+(?:\.\d+)?(?![\w.-])", text.split("---\n", 2)[2])}
    said = {5, 4, 3, 9, 37, 95, 8, 12.3, 5.1, 98.8, manifest.backbone.input_size, manifest.backbone.dimension, 2, 100}
    said.add(round(100 * manifest.backbone.input_size / manifest.backbone.short_side))
    figures = {float(f"{value:.2g}") for model in manifest.models for value in (model.error,)}
    figures |= {float(f"{model.cosine:.5f}") for model in manifest.models}
    assert numbers <= {float(number) for number in said} | figures, "a number that nothing says"


def test_the_head_names_licence_labels_and_task_as_a_model_card_does(bundle: Bundle) -> None:
    front = head(bundle.manifest.card or "")
    assert front["labels"] == list(bundle.manifest.labels)
    assert front["pipeline_tag"] == "image-classification"
    assert front["library_name"] == "edge-transfer"
    assert isinstance(front["license"], str)


def test_programs_that_know_no_card_read_the_bundle_all_the_same(bundle: Bundle) -> None:
    """Version 0.1.0 refuses an entry that it does not know, and lets a field of the manifest pass."""
    with zipfile.ZipFile(bundle.path) as file:
        assert set(file.namelist()) == {"manifest.json", *bundle.manifest.files}
        raw = json.loads(file.read("manifest.json"))
    assert raw["card"] == bundle.manifest.card
    assert raw["reader"] == 1


def test_a_bundle_without_a_card_gets_the_same_one(bundle: Bundle) -> None:
    older = dataclasses.replace(bundle.manifest, card=None)
    assert archive.described(older, bundle.examples()) == bundle.manifest.card


def test_a_card_is_never_that_of_another_bundle(bundle: Bundle, tmp_path: Path) -> None:
    """Whoever writes a bundle from another one's manifest does not pass its card on."""
    models = {model.file: bundle.entry(model.file) for model in bundle.manifest.models}
    fewer = bundle.examples()
    keep = fewer.labels == 0
    examples = FactoryExamples(fewer.embeddings[keep], fewer.labels[keep], fewer.trained_on[keep])
    other = archive.write(tmp_path / "b.edge", bundle.manifest, models, bundle.golden(), examples)
    assert dict(table(other.manifest.card or "", "What it tells apart")) == {"brick": "5", "grass": "0"}


def test_the_command_prints_it_or_writes_it_and_replaces_nothing_else(bundle: Bundle, tmp_path: Path) -> None:
    text = bundle.manifest.card or ""

    def run(*args: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "export", *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)

    assert run("card", bundle.path).stdout == text
    output = tmp_path / "kitchen.md"
    for _ in range(2):  # an older card may be replaced
        assert run("card", bundle.path, "-o", output).returncode == 0
        assert output.read_text(encoding="utf-8") == text
    output.write_text("mine\n")
    done = run("--json", "card", bundle.path, "-o", output)
    assert done.returncode == 1
    assert "output-exists" in done.stdout + done.stderr
    assert output.read_text() == "mine\n"


def is_label(text: str) -> bool:
    try:
        return clean(text) == text
    except ValueError:
        return False


NAMES = st.lists(st.text(min_size=1, max_size=100).filter(is_label), min_size=1, max_size=60, unique=True)
ANY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(NAMES, ANY, ANY, ANY, st.sampled_from(["crop", "pad", "stretch"]))
def test_whatever_is_called_whatever_the_head_is_yaml_and_the_card_fits(
    labels: list[str], name: str, licence: str, weights: str, fit: str
) -> None:
    info = dataclasses.replace(INFO, licence=licence * LONG, weights=weights, fit=fit)
    manifest = Manifest(name, MADE, info, tuple(labels), (), FIGURES, background=weights)
    text = card(manifest, range(len(labels)), 0)
    front = head(text)
    assert front["labels"] == labels[:SHOWN]
    assert front["model-index"][0]["name"] == name
    rows = table(text, "What it tells apart")
    assert sum(int(row[1].replace(",", "")) for row in rows) == sum(range(len(labels)))
    assert len(text.encode()) <= MAX_TEXT


def test_the_longest_labels_leave_the_manifest_readable(tmp_path: Path) -> None:
    labels = tuple(f"{'𐍈' * 90}{number:05}" for number in range(1000))
    manifest = Manifest("x", MADE, INFO, labels, (), None)
    assert len(card(manifest, [1] * 1000, 0).encode()) <= MAX_TEXT
