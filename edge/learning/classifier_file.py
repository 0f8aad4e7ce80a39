"""The files that `edge export` writes. They overwrite only files of their own kind.

A list of labels is UTF-8 text, one label per line, in the order of the model's probabilities, like `labelmap.txt` of
Frigate or `labels.txt` of most TFLite examples.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from edge.answers import Exported
from edge.errors import BundleError, disk_errors_as
from edge.files import check_output, replacing
from edge.home.state import Home
from edge.modelfile.graft import graft
from edge.modelfile.protobuf import fields

FRIGATES, FRIGATES_SIDE = "labelmap.txt", 224  # custom_classification.py of Frigate 0.18: cv2.resize(…, (224, 224))
_TFLITE = b"TFL3"  # at byte 4
_GRAPH = 7  # ModelProto.graph

FORMATS: dict[str, Literal["onnx", "tflite"]] = {".onnx": "onnx", ".tflite": "tflite"}


def export(home: Home, path: Path, labels: Path | None) -> Exported:
    """As `Learner.export`."""
    store = home.store
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise BundleError("output-unwritable", f"{path} must end in .onnx or .tflite")
    models = {m.precision: m for m in home.bundle.manifest.models if m.format == kind}
    model = models.get(store.meta("precision")) or next(iter(models.values()), None)
    if model is None:
        held = ", ".join(m.file for m in home.bundle.manifest.models)
        raise BundleError(
            "bundle-lacks-model", f"the bundle contains no {kind} model, only {held}; choose another ending"
        )

    serving = home.serving()
    head = serving.head
    check_model(path, kind)
    if labels:
        if labels.name == FRIGATES and home.info.input_size != FRIGATES_SIDE:
            raise BundleError(
                "model-unsuitable",
                f"{FRIGATES} is for Frigate, which gives a model {FRIGATES_SIDE} × {FRIGATES_SIDE} pixels, but this "
                f"network takes {home.info.input_size} × {home.info.input_size}; choose a backbone of "
                f"{FRIGATES_SIDE}, or call the list labels.txt",
            )
        check_list(labels, head.labels)
    data = graft(
        home.bundle.entry(model.file),
        kind,
        head.weights / head.temperature,
        head.bias / head.temperature,
        head.labels,
    )
    write(path, data)
    if labels:
        write(labels, as_list(head.labels))
    return Exported(str(path), kind, len(data), head.labels, serving.generation, str(labels) if labels else None)


def check_model(path: Path, kind: str) -> None:
    """Refuse a path that cannot be written, or is a file other than a model of this kind (`onnx` or `tflite`).

    Raises:
        BundleError: the path is refused.
    """
    check_output(path, f"classifier.{kind}")
    if not path.exists():
        return
    data = path.read_bytes()
    if data and not (_is_onnx(data) if kind == "onnx" else data[4:8] == _TFLITE):
        raise BundleError("output-exists", f"{path} exists and is not a model in {kind} format; choose another name")


def check_list(path: Path, labels: Sequence[str]) -> None:
    """Refuse a path that cannot be written, or is a file other than a list with some of these labels.

    Raises:
        BundleError: the path is refused.
    """
    if path.suffix.lower() != ".txt":
        raise BundleError(
            "output-unwritable",
            f"the list of labels is a text file, but {path} does not end in .txt; call it labels.txt",
        )
    check_output(path, "labels.txt")
    if not path.exists():
        return
    found = path.read_bytes().decode("utf-8", "replace").split("\n")
    if found != [""] and not set(found) & set(labels):
        raise BundleError("output-exists", f"{path} exists and does not contain any of the labels; choose another name")


def write(path: Path, data: bytes) -> None:
    """Write a file completely or not at all.

    Raises:
        BundleError: the disk refuses; an older file is unchanged.
    """
    with (
        disk_errors_as(BundleError, "output-unwritable", f"{path} cannot be written", "choose another path"),
        replacing(path) as partial,
    ):
        partial.write_bytes(data)


def as_list(labels: Sequence[str]) -> bytes:
    """Return the labels as text, one per line.

    >>> as_list(["cup", "café"]).decode()
    'cup\\ncafé\\n'
    """
    return "".join(f"{label}\n" for label in labels).encode()


def _is_onnx(data: bytes) -> bool:
    try:
        return any(field.number == _GRAPH for field in fields(memoryview(data)))
    except BundleError:
        return False
