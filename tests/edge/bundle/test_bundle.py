"""Bundles: what is written is read back; whatever was done to the file in between, it is refused by name."""

import dataclasses
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bundle import archive as bundle
from edge.bundle.archive import Golden
from edge.errors import BundleError
from edge.network.backbone import Backbone
from edge.unknown.gate import Background
from tests.edge.conftest import DIMENSION, INFO, MODELS, write_bundle
from tests.edge.hostile import entries_of, write_zip
from tests.refused import refused

Entries = dict[str, bytes]


def edited(path: Path, source: Path, change: Callable[[dict], None]) -> Path:  # type: ignore[type-arg]
    """Write a copy whose manifest was changed, sizes and hashes of the entries left as they were."""
    entries = entries_of(source)
    manifest = json.loads(entries["manifest.json"])
    change(manifest)
    return write_zip(path, {**entries, "manifest.json": json.dumps(manifest).encode()})


def test_how_pictures_are_fitted_is_kept_and_older_bundles_crop(
    tiny_bundle: Path, tmp_path: Path, network: Backbone, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = bundle.read(tiny_bundle).manifest
    assert (plain.backbone.fit, plain.format, plain.reader) == ("crop", 1, 1)  # older programs go on reading these
    silent = edited(tmp_path / "old.edge", tiny_bundle, lambda m: m["backbone"].pop("fit"))
    assert bundle.read(silent).manifest == plain
    odd = edited(tmp_path / "odd.edge", tiny_bundle, lambda m: m["backbone"].update(fit="squeeze"))
    with refused("bundle-invalid", BundleError, "fit"):
        bundle.read(odd)
    padding = dataclasses.replace(INFO, fit="pad")
    padded = write_bundle(tmp_path / "padded.edge", photo_folder, network, padding)
    told = bundle.read(padded).manifest
    assert (told.backbone.fit, told.format, told.reader) == ("pad", 2, 2)
    monkeypatch.setattr("edge.bundle.manifest.FORMAT", 1)  # a program of 0.1.0, which would crop without a word
    with refused("too-new", BundleError, "padded.edge", "2", "upgrade"):
        bundle.read(padded)


def test_what_is_written_is_read_back(tiny_bundle: Path, tmp_path: Path) -> None:
    opened = bundle.read(tiny_bundle)
    golden, examples = opened.golden(), opened.examples()
    background = Background.of(np.random.default_rng(0).random((20, DIMENSION), np.float32), rank=3)
    models = {m.file: opened.entry(m.file) for m in opened.manifest.models}
    again = bundle.write(tmp_path / "b.edge", opened.manifest, models, golden, examples, background)
    np.testing.assert_array_equal(again.golden().images, golden.images)
    np.testing.assert_array_equal(again.examples().embeddings, examples.embeddings)
    np.testing.assert_array_equal(again.examples().labels, examples.labels)
    loaded = again.background()
    assert loaded is not None
    assert loaded.digest() == background.digest()
    assert again.entry("backbone.onnx") == MODELS["onnx"].read_bytes()
    made = {"files": {}, "card": ""}  # from the content, and the background is another one
    assert dataclasses.replace(again.manifest, **made) == dataclasses.replace(opened.manifest, **made)


def test_the_same_content_gives_the_same_bytes(tiny_bundle: Path, tmp_path: Path) -> None:
    opened = bundle.read(tiny_bundle)
    models = {m.file: opened.entry(m.file) for m in opened.manifest.models}
    bundle.write(tmp_path / "b.edge", opened.manifest, models, opened.golden(), opened.examples())
    assert (tmp_path / "b.edge").read_bytes() == tiny_bundle.read_bytes()


def test_a_bundle_that_cannot_be_read_back_is_not_written(tiny_bundle: Path, tmp_path: Path) -> None:
    opened = bundle.read(tiny_bundle)
    models = {m.file: opened.entry(m.file) for m in opened.manifest.models}
    broken = Golden(opened.golden().images, np.full((4, DIMENSION), np.nan, np.float32))
    with refused("bundle-invalid", BundleError, "golden.npz", "embeddings", "NaN"):
        bundle.write(tmp_path / "b.edge", opened.manifest, models, broken, opened.examples())
    assert list(tmp_path.iterdir()) == []


def test_missing_empty_truncated_and_foreign_files_are_refused_by_name(tiny_bundle: Path, tmp_path: Path) -> None:
    data = tiny_bundle.read_bytes()
    cases = {
        "file-missing": None,
        "bundle-damaged: 0 bytes": b"",
        "bundle-damaged": data[: len(data) // 2],
        "bundle-foreign": b"hello, I am a text\n" * 9,
        "bundle-invalid: 'hello.txt'": write_zip(tmp_path / "z", {"hello.txt": b"x"}).read_bytes(),
        "bundle-foreign: manifest.json": write_zip(tmp_path / "z", {"golden.npz": b"x"}).read_bytes(),
        "bundle-invalid: JSON": write_zip(tmp_path / "z", {"manifest.json": b"{"}).read_bytes(),
        "bundle-foreign: format": write_zip(tmp_path / "z", {"manifest.json": b"{}"}).read_bytes(),
    }
    for says, content in cases.items():
        file = tmp_path / "broken.edge"
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        with refused(says.partition(": ")[0], BundleError, "broken.edge", says.partition(": ")[2]):
            bundle.read(file)
    with refused("file-missing", BundleError, "folder"):
        bundle.read(tmp_path)


def test_a_newer_format_asks_for_an_upgrade(tiny_bundle: Path, tmp_path: Path) -> None:
    newer = edited(tmp_path / "b.edge", tiny_bundle, lambda m: m.update(format=9, reader=9))
    with refused("too-new", BundleError, "9", "3", "upgrade"):
        bundle.read(newer)
    compatible = edited(tmp_path / "c.edge", tiny_bundle, lambda m: m.update(format=9, novelty=[1]))
    assert bundle.read(compatible).manifest.format == 9


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (lambda m: m.pop("labels"), "bundle-invalid", "labels"),
        (lambda m: m.update(labels=[]), "bundle-invalid", "labels"),
        (lambda m: m.update(labels=["a", "a", "b"]), "bundle-invalid", "labels"),
        (lambda m: m.update(labels=["a", "b", "c\x1b"]), "bundle-invalid", "unprintable"),
        (lambda m: m.update(labels=7), "bundle-invalid", "labels"),
        (lambda m: m["backbone"].update(input_size=10**9), "bundle-invalid", "input_size"),
        (lambda m: m["backbone"].update(dimension=-1), "bundle-invalid", "dimension"),
        (lambda m: m["backbone"].update(dimension=True), "bundle-invalid", "int"),
        (lambda m: m["backbone"].update(short_side=1), "bundle-invalid", "short_side"),
        (lambda m: m["backbone"].update(dimension=9), "bundle-invalid", "expected float32 (4, 9)"),
        (lambda m: m.update(models=[]), "bundle-invalid", "models"),
        (lambda m: m["models"][0].update(file="../../etc/passwd"), "bundle-invalid", "models"),
        (lambda m: m["files"].pop("golden.npz"), "bundle-damaged", "golden.npz"),
        (
            lambda m: m["files"].update({"background.npz": {"size": 1, "sha256": ""}}),
            "bundle-damaged",
            "background.npz",
        ),
        (lambda m: m["files"]["golden.npz"].update(size=5), "bundle-damaged", "5"),
        (lambda m: m["files"]["golden.npz"].update(sha256="0" * 64), "bundle-damaged", "golden.npz"),
    ],
)
def test_an_impossible_manifest_is_refused_by_its_field(
    tiny_bundle: Path,
    tmp_path: Path,
    change: Callable[[dict], None],  # type: ignore[type-arg]
    code: str,
    says: str,
) -> None:
    file = edited(tmp_path / "b.edge", tiny_bundle, change)
    with refused(code, BundleError, "b.edge", says):
        bundle.read(file).verify()


def test_compressed_repeated_and_too_many_entries_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    entries = entries_of(tiny_bundle)
    with refused("bundle-invalid", BundleError, "compressed"):
        bundle.read(write_zip(tmp_path / "b.edge", entries, zipfile.ZIP_DEFLATED))
    with refused("bundle-invalid", BundleError, "list"):
        bundle.read(write_zip(tmp_path / "b.edge", {f"e{i}": b"" for i in range(2000)}))
    file = tmp_path / "twice.edge"
    write_zip(file, entries)
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("manifest.json", entries["manifest.json"])
    with refused("bundle-invalid", BundleError, "two entries"):
        bundle.read(file)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((4, DIMENSION)), "float64"),
        (np.zeros((4, DIMENSION + 1), np.float32), "expected float32"),
        (np.zeros((4, DIMENSION), ">f4"), "expected float32"),
        (np.array([[{}] * DIMENSION] * 4, object), "object"),
    ],
)
def test_an_array_of_another_type_or_shape_is_refused(
    tiny_bundle: Path,
    tmp_path: Path,
    array: np.ndarray,
    says: str,  # type: ignore[type-arg]
) -> None:
    file = io.BytesIO()
    np.savez(file, images=bundle.read(tiny_bundle).golden().images, embeddings=array)
    with refused("bundle-invalid", BundleError, says):
        bundle.read(_with_entry(tmp_path / "b.edge", tiny_bundle, "golden.npz", file.getvalue())).verify()


def test_an_array_that_declares_more_than_it_holds_costs_no_memory(tiny_bundle: Path, tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        header = io.BytesIO()
        shape = (10**12, INFO.dimension)
        np.lib.format.write_array_header_1_0(header, {"descr": "<f2", "fortran_order": False, "shape": shape})
        archive.writestr("embeddings.npy", header.getvalue())
    huge = _with_entry(tmp_path / "b.edge", tiny_bundle, "examples.npz", file.getvalue())
    with refused("bundle-invalid", BundleError, "0 bytes", "shape"):
        bundle.read(huge).verify()


@pytest.mark.parametrize("text", ["{'descr': '<f2', 'shape': (1,", "{", "'", "(" * 500, "1L\n", "  x\n y", "\x00", ""])
def test_the_header_of_an_array_that_is_no_literal_is_refused(tiny_bundle: Path, tmp_path: Path, text: str) -> None:
    """Found by fuzzing: numpy tries such a header again as one of Python 2, and may raise tokenize.TokenError then."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("embeddings.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode())
    broken = _with_entry(tmp_path / "b.edge", tiny_bundle, "examples.npz", file.getvalue())
    with refused("bundle-damaged", BundleError, "embeddings"):
        bundle.read(broken).verify()


def _with_entry(path: Path, source: Path, name: str, data: bytes) -> Path:
    """Write a copy with another entry whose size and hash the manifest confirms."""
    import hashlib

    entries = entries_of(source)
    manifest = json.loads(entries["manifest.json"])
    manifest["files"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return write_zip(path, {**entries, name: data, "manifest.json": json.dumps(manifest).encode()})


@pytest.mark.fuzzing
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 7)), min_size=1, max_size=4), cut=st.floats(0.5, 1))
def test_damage_is_a_bundle_error_or_no_damage_at_all(
    tiny_bundle: Path, tmp_path: Path, flips: list[tuple[float, int]], cut: float
) -> None:
    data = bytearray(tiny_bundle.read_bytes())
    for place, bit in flips:
        data[int(place * (len(data) - 1))] ^= 1 << bit
    file = tmp_path / "b.edge"
    file.write_bytes(bytes(data[: int(len(data) * cut)] if cut < 0.9 else data))
    try:
        opened = bundle.read(file)
        opened.verify()
    except BundleError:
        return
    np.testing.assert_array_equal(opened.golden().images, bundle.read(tiny_bundle).golden().images)
    assert opened.manifest == bundle.read(tiny_bundle).manifest
