"""Hostile input, the short form of `make torture`: read, or refused by name; no traceback, no hang, no full memory."""

import contextlib
import io
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.bundle import archive as bundle
from edge.bundle.archive import Golden
from edge.camera import mjpeg
from edge.care.verify import verify
from edge.errors import BundleError, EdgeError, ImageError, SourceError
from edge.home.database import FILE
from edge.home.store import open_store
from edge.learner import Learner
from edge.modelfile.check_onnx import check_onnx
from edge.modelfile.check_tflite import check_tflite
from edge.modelfile.protobuf import bytes_field, varint_field
from edge.network import backbone, photos, sandbox
from edge.network.backbone import RUNTIMES, Backbone
from edge.picture import preprocess
from tests.refused import refused

from .conftest import DIMENSION, MODELS, PATIENCE, picture
from .hostile import Target, entries_of, full_bundle, pack, printable, spoilt_models, targets
from .hostile_home import home_targets, teach_home

SHORT = 40  # spoilt inputs a reader


@pytest.fixture(scope="module")
def readers(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Target]:
    return targets(tmp_path_factory.mktemp("hostile"), tiny_bundle)


@pytest.mark.fuzzing
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_reader_answers_or_refuses(readers: list[Target]) -> None:
    for reader in readers:
        for whole in reader.corpus:
            with contextlib.suppress(EdgeError):
                reader.ask(whole)
        for number in range(SHORT):
            try:
                reader.ask(reader.spoilt(number))
            except EdgeError as error:
                assert "\n" not in str(error), f"{reader.name} {number}"
            except BaseException as error:
                raise AssertionError(f"{reader.name} {number}") from error


@pytest.mark.fuzzing
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_command_answers_or_refuses_a_damaged_database(tiny_bundle: Path, tmp_path: Path) -> None:
    teach_home(Learner.init(tmp_path / "home", tiny_bundle), tmp_path)
    for home in home_targets(tmp_path / "home", tmp_path):
        home.ask(home.corpus[0])
        for number in range(5):
            try:
                home.ask(home.spoilt(number))
            except EdgeError:
                pass
            except BaseException as error:
                raise AssertionError(f"{home.name} {number}") from error


def test_a_damaged_note_of_the_bundles_name_costs_no_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    """What looked left over was deleted: the very bundle."""
    home = tmp_path / "home"
    Learner.init(home, tiny_bundle).close()
    for name in ("../../etc/passwd", "", "0123456789abcdef.edge"):
        with open_store(home) as store, store.transaction():
            store.put("bundle", name)
        found = verify(home).findings
        assert not next(finding for finding in found if finding.check == "bundle").ok
        assert len(list(home.glob("*.edge"))) == 1
    Learner.init(home, tiny_bundle).close()
    assert all(finding.ok for finding in verify(home).findings)


def test_where_the_number_of_the_serving_generation_is_lost_the_newest_serves(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    Learner.init(tmp_path / "home", tiny_bundle).close()
    with Learner(tmp_path / "home") as learner:
        newest = learner.retrain(force=True).generation
        for kept in ("", "-1", "9" * 5000, "²", "[[1]]"):
            with learner.store.transaction():
                learner.store.put("serving", kept)
            assert learner.status().generation == newest
    assert "generation 2 is used" in " ".join(verify(tmp_path / "home").mended)


# bundles --------------------------------------------------------------------------------------------------------------


def _npz(**arrays: np.ndarray) -> bytes:  # type: ignore[type-arg]
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def _bomb(compression: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("embeddings.npy", bytes(50_000_000))
    return file.getvalue()


def test_hostile_entries_are_refused_by_name(tiny_bundle: Path, tmp_path: Path) -> None:
    entries = entries_of(full_bundle(tmp_path, tiny_bundle))
    count = len(bundle.read(tiny_bundle).examples().labels)
    nothing, labels = np.full((count, DIMENSION), np.nan, np.float16), np.zeros(count, np.int32)
    trained = np.zeros(count, np.uint8)
    wide = np.zeros((count, DIMENSION), np.float16)
    cases = {
        "bundle-invalid: compressed": ("examples.npz", _bomb(zipfile.ZIP_DEFLATED)),
        "bundle-damaged: cannot be read": ("examples.npz", _bomb(zipfile.ZIP_STORED)),
        "bundle-invalid: NaN": ("examples.npz", _npz(embeddings=nothing, labels=labels, trained_on=trained)),
        "bundle-invalid: label": ("examples.npz", _npz(embeddings=wide, labels=labels + 99, trained_on=trained)),
        "bundle-damaged: domain.npz": ("domain.npz", b"PK\5\6" + bytes(18)),
        "bundle-damaged: background.npz": ("background.npz", _npz(mean=np.full(DIMENSION, np.inf, np.float32))),
    }
    for says, (name, data) in cases.items():
        with refused(says.partition(": ")[0], BundleError, says.partition(": ")[2]):
            bundle.read(pack(tmp_path / "b.edge", {**entries, name: data})).verify()


def test_entries_that_overlap_or_lie_about_their_place_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    data = bytearray(tiny_bundle.read_bytes())
    listed = data.rfind(b"PK\1\2")  # the last entry of the list; its header's place stands 42 bytes on
    struct.pack_into("<I", data, listed + 42, 0)
    (tmp_path / "b.edge").write_bytes(data)
    with refused("bundle-damaged", BundleError):
        bundle.read(tmp_path / "b.edge").verify()


# networks -------------------------------------------------------------------------------------------------------------


def _onnx(*node: bytes, initializer: bytes = b"", functions: bytes = b"") -> bytes:
    graph = bytes_field(1, b"".join(node)) + (bytes_field(5, initializer) if initializer else b"")
    return bytes_field(7, graph) + (bytes_field(25, functions) if functions else b"")


def test_onnx_files_that_reach_outside_or_loop_are_refused_by_name() -> None:
    passwords = bytes_field(13, bytes_field(1, b"location") + bytes_field(2, b"../../etc/passwd"))
    external = bytes_field(8, b"w") + passwords + varint_field(14, 1)
    constant = bytes_field(4, b"Constant") + bytes_field(5, bytes_field(1, b"value") + bytes_field(5, external))
    loop = bytes_field(4, b"Loop") + bytes_field(5, bytes_field(1, b"body") + bytes_field(6, b""))
    cases = {
        "model-unsafe: ('../../etc/passwd')": _onnx(bytes_field(4, b"Relu"), initializer=external),
        "model-unsafe: another file": _onnx(constant),
        "model-unsafe: 'evil'": _onnx(bytes_field(4, b"Evil"), bytes_field(7, b"evil")),
        "model-unsafe: 'Loop'": _onnx(loop),
        "model-unsafe: functions": _onnx(bytes_field(4, b"Relu"), functions=b"\x0a\x01f"),
        "model-damaged: 0": b"",
    }
    for says, model in cases.items():
        with refused(says.partition(": ")[0], BundleError, says.partition(": ")[2]):
            check_onnx(model)
    check_onnx(MODELS["onnx"].read_bytes())


def test_tflite_files_with_foreign_operators_or_wild_indices_are_refused_by_name() -> None:
    from edge.modelfile.flatbuffer import prefix

    def model(code: dict[int, object], graphs: int = 1, tensor: dict[int, object] | None = None) -> bytes:
        graph: dict[int, object] = {0: [tensor or {0: np.array([1, 4], "<i4"), 2: 0}], 1: np.array([0], "<i4")}
        graph[2], graph[3] = np.array([0], "<i4"), [{1: np.array([0], "<i4"), 2: np.array([0], "<i4")}]
        return prefix({1: [code], 2: [graph] * graphs, 4: [{}]}, b"TFL3")  # type: ignore[dict-item, list-item]

    relu = {0: 19, 3: 19}
    cases = {
        "model-unsafe: 'Evil'": model({0: 32, 1: "Evil", 3: 32}),
        "model-unsafe: WHILE": model({0: 119, 3: 119}),
        "model-unsafe: StableHLO": model({0: 127, 3: 200}),
        "model-unsafe: 2": model(relu, graphs=2),
        "model-damaged: 268435456": model(relu, tensor={0: np.array([2**30, 2**30], "<i4"), 2: 0}),
        "model-damaged: buffer 7 of 1": model(relu, tensor={0: np.array([1], "<i4"), 2: 7}),
    }
    check_tflite(model(relu))
    for says, data in cases.items():
        with refused(says.partition(": ")[0], BundleError, says.partition(": ")[2]):
            check_tflite(data)
    for file in MODELS["tflite"].parent.glob("*.tflite"):
        check_tflite(file.read_bytes())


@pytest.mark.fuzzing
@pytest.mark.parametrize("runtime", [r for r in RUNTIMES if r.installed], ids=lambda r: r.name)
def test_spoilt_networks_are_refused_or_answer_in_a_process_of_their_own(
    runtime: backbone.Runtime, tiny_bundle: Path, tmp_path: Path
) -> None:
    """That they may crash it is why: here none of a few takes us along."""
    entries, file = entries_of(tiny_bundle), f"backbone.{runtime.format}"
    sandbox.prove(runtime, bundle.read(tiny_bundle), file)
    for number in range(4):
        entries[file] = spoilt_models(runtime.format).spoilt(number)
        with contextlib.suppress(EdgeError):
            sandbox.prove(runtime, bundle.read(pack(tmp_path / "b.edge", entries)), file)


def test_a_runtime_that_dies_or_hangs_is_refused_by_name(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = next(r for r in RUNTIMES if r.installed)
    opened, file = bundle.read(tiny_bundle), f"backbone.{runtime.format}"
    with refused("model-failed", BundleError, file, "tiny.edge", runtime.name, "0 seconds"):
        sandbox.prove(runtime, opened, file, seconds=0.01)
    monkeypatch.setattr(sys, "executable", str(Path(__file__).with_name("dies.sh")))
    with refused("model-failed", BundleError, file, runtime.name, "SIGSEGV", "--runtime"):
        sandbox.prove(runtime, opened, file)


def test_the_memory_that_is_told_is_the_childs_and_not_that_of_the_process_that_started_it(tiny_bundle: Path) -> None:
    runtime = next(r for r in RUNTIMES if r.installed)
    here = bytearray(os.urandom(1 << 20) * 400)  # in use, every page of it
    tried = sandbox.attempt(runtime, tiny_bundle, f"backbone.{runtime.format}")
    assert tried.failure == ""
    assert 10 < tried.megabytes < len(here) / 1e6


def test_the_child_proves_the_bundle_that_was_checked_and_no_other(tiny_bundle: Path, tmp_path: Path) -> None:
    runtime = next(r for r in RUNTIMES if r.installed)
    opened = bundle.read(pack(tmp_path / "b.edge", entries_of(tiny_bundle)))
    shutil.copy(tiny_bundle, tmp_path / "b.edge")
    with refused("file-changed", BundleError, "b.edge"):
        sandbox.prove(runtime, opened, f"backbone.{runtime.format}")


def test_a_network_of_another_form_than_its_bundle_says_is_not_adopted(
    tiny_bundle: Path, tmp_path: Path, network: Backbone
) -> None:
    entries = entries_of(tiny_bundle)
    manifest = json.loads(entries["manifest.json"])
    manifest["backbone"]["input_size"] = 20
    manifest["backbone"]["short_side"] = 22
    golden = Golden(np.zeros((2, 20, 20, 3), np.uint8), np.ones((2, DIMENSION), np.float32))
    entries["golden.npz"] = _npz(images=golden.images, embeddings=golden.embeddings)
    entries["manifest.json"] = json.dumps(manifest).encode()
    with refused("model-unsuitable", BundleError, f"{network.size} pixels", 20):
        Learner.init(tmp_path / "home", pack(tmp_path / "b.edge", entries))


# pictures and streams -------------------------------------------------------------------------------------------------


def _huge(kind: str, mode: str, size: tuple[int, int], **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **options)
    return file.getvalue()


def test_pictures_that_would_fill_the_memory_are_refused_by_what_they_take() -> None:
    cases = {
        "208 MB to decode as PNG RGBA": _huge("PNG", "RGBA", (6500, 4000)),
        "as TIFF 1": _huge("TIFF", "1", (6000, 4000), compression="group4"),
        "1 × 70000 pixels": _huge("PNG", "L", (1, 70_000)),
    }
    for says, data in cases.items():
        with refused("picture-too-large", ImageError, says):
            preprocess.decode(data, "x", 224, 256)
    assert preprocess.decode(_huge("PNG", "RGB", (8000, 4900)), "x", 224, 256).shape == (224, 224, 3)


def test_a_damaged_tiff_is_one_line(tmp_path: Path) -> None:
    """Its library writes several, past Python."""
    data = bytearray(_huge("TIFF", "RGB", (64, 64), compression="tiff_adobe_deflate"))
    data[8:40] = bytes(32)
    (tmp_path / "a.tif").write_bytes(data)
    script = (
        "import sys; from edge.picture import preprocess\n"
        "try: preprocess.load(sys.argv[1])\nexcept ValueError as e: print(e)"
    )
    child = subprocess.run([sys.executable, "-c", script, tmp_path / "a.tif"], capture_output=True, text=True)
    assert child.stdout.count("\n") == 1
    assert child.stderr == ""


def test_each_byte_of_a_stream_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that never ends a picture made the reader begin anew with each chunk, for minutes."""
    monkeypatch.setattr(mjpeg, "MAX_BYTES", 3_000_000)
    for hostile in (b"\xff\xd8\xff" + b"\xff" * 4_000_000, b"\xff\xd8\xff\xda\x00\x02" + b"\xff\x00" * 2_000_000):
        with refused("stream-failed", SourceError, "motion JPEG"):
            list(mjpeg.split(io.BytesIO(hostile).read))
    many = b"\xff\xd8" + b"\xff\xe0\x00\x02" * 20_000
    assert all(len(part) < 50_000 for part in mjpeg.split(io.BytesIO(many).read))  # cut off by the end: dropped


def test_a_stream_is_cut_the_same_however_it_trickles_in() -> None:
    file = io.BytesIO()
    picture("brick", 1).save(file, "JPEG")
    stream = b"--x\r\n" + file.getvalue() + b"\r\n--x\r\n" + file.getvalue()
    source = io.BytesIO(stream)
    assert list(mjpeg.split(lambda _: source.read(1))) == [file.getvalue()] * 2


# names ----------------------------------------------------------------------------------------------------------------

NAMES = [b"\xff.png", b"a\nfine: brick 99 %.png", b"\x1b[2J.png", b"\xc2\x9b31m.png", "x\u202egnp.exe.png".encode()]


@pytest.fixture
def evil_names(tmp_path: Path) -> Path:
    folder = tmp_path / "evil" / "coins"
    folder.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        picture("coins", 900 + number).save(tmp_path / "t.png")
        (tmp_path / "t.png").rename(os.fsdecode(os.fsencode(folder) + b"/" + name))
    Path(os.fsdecode(os.fsencode(folder) + b"/cut\xfe\x1b.png")).write_bytes(b"\x89PNG")
    return folder.parent


@pytest.mark.fuzzing
def test_no_name_steers_the_terminal_forges_a_line_or_breaks_a_command(
    evil_names: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    def edge(*args: object) -> Iterator[str]:
        command = [sys.executable, "-m", "edge", *map(str, args)]
        environment = {**os.environ, "EDGE_HOME": str(tmp_path / "home"), "PYTHONIOENCODING": "utf-8:strict"}
        child = subprocess.run(command, capture_output=True, env=environment, timeout=PATIENCE)
        for stream in (child.stdout, child.stderr):
            text = stream.decode()  # strictly UTF-8
            assert "Traceback" not in text, (args, text)
            for line in text.splitlines():
                assert printable(line), (args, line)
            yield text

    edge_out = list(edge("init", tiny_bundle))
    assert "tested with" in edge_out[0]
    out, err = edge("classify", evil_names)
    assert len(out.splitlines()) == len(NAMES)
    assert r"cut\udcfe\x1b.png" in err
    for command in ("classify", "audit"):
        for answer in next(iter(edge(command, evil_names, "--json"))).splitlines():
            json.loads(answer)
    assert "5 new examples of 'coins'" in next(iter(edge("teach", "coins", evil_names)))
    answers = [json.loads(line) for line in next(iter(edge("classify", evil_names, "--json"))).splitlines()]
    assert {os.fsencode(Path(a["image"]).name) for a in answers} == set(NAMES), "JSON gives the very names"
    for args in (
        ("retrain",), ("audit",), ("audit", evil_names), ("status",), ("history",), ("evaluate", evil_names),
        ("classify", evil_names, "--explain"), ("forget", *evil_names.glob("coins/*")), ("doctor", evil_names),
        ("teach", "\x1b[2J", evil_names), ("rename", "coins", "a\x9bb"), ("relabel", "\u202e", "1"), ("\x1b[2J",),
        ("rollback", "\x1b[2J"), ("init", "\x1b[2J"), ("trust", "\x1b]0;x\x07"), ("export", "\x1b[2J/x.onnx"),
        ("watch", "\x1b[2J"), ("watch", evil_names, "--region", "\x1b[2J"), ("watch", evil_names, "--on", "\x1b", "x"),
        ("capture", "coins", "\x1b[2J"), ("review", "\x1b[2J"),
    ):  # fmt: skip
        list(edge(*args))


def test_labels_of_a_hostile_bundle_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    entries = entries_of(tiny_bundle)
    manifest = json.loads(entries["manifest.json"])
    for label in ("\x1b[2J", "../../etc", "a\nb", "\ud800", "x" * 101, "\u202e", "-rf", ""):
        changed = {**manifest, "labels": ["brick", "grass", label]}
        with refused("bundle-invalid", BundleError) as error:
            bundle.read(pack(tmp_path / "b.edge", {**entries, "manifest.json": json.dumps(changed).encode()}))
        assert "\n" not in str(error.value)


def test_links_pipes_and_devices_among_the_pictures_stop_nobody(tmp_path: Path, network: Backbone) -> None:
    folder = tmp_path / "coins"
    folder.mkdir()
    picture("coins", 1).save(folder / "a.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "up").symlink_to("..")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "folder.png").mkdir()
    from .conftest import INFO

    seen = {photo.path.name: photo for photo in photos.embed(sorted(folder.iterdir()), network, INFO)}
    assert {name for name, photo in seen.items() if photo.error is None} == {"a.png"}
    assert "is not an ordinary file" in str(seen["pipe.png"].error)
    assert "is not an ordinary file" in str(seen["zero.png"].error)


# the home -------------------------------------------------------------------------------------------------------------


def test_a_home_is_its_owners_alone_and_an_open_one_is_mended(tiny_bundle: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"

    def modes() -> set[int]:
        return {stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()}

    umask = os.umask(0)
    try:
        Learner.init(home, tiny_bundle).close()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert modes() == {0o600}
    home.chmod(0o755)
    for path in home.iterdir():
        path.chmod(0o644)
    with Learner(home) as learner:
        learner.retrain()
        assert modes() == {0o600}, "those of the open database as well"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert (home / FILE).exists()


def test_the_childs_modules_come_from_us_and_not_from_the_folder_we_are_in(tiny_bundle: Path, tmp_path: Path) -> None:
    """A stick with a bundle and a file numpy.py on it is not to run that file."""
    (tmp_path / "numpy.py").write_text("open('owned', 'w')")
    shutil.copy(tiny_bundle, tmp_path / "tiny.edge")
    root = Path(__file__).parent.parent.parent
    command = [sys.executable, "-P", "-m", "edge", "--home", "home", "init", "tiny.edge"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    child = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert child.returncode == 0, child.stderr
    subprocess.run([*command[:6], "doctor"], cwd=tmp_path, capture_output=True, env=environment)
    assert not (tmp_path / "owned").exists()
