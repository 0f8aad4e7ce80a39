"""The look through a TFLite file: what is not known to be good is refused, wherever in the file it stands."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import BundleError
from edge.modelfile.check_tflite import check_tflite
from edge.modelfile.flatbuffer import Long, prefix
from tests.edge.conftest import MODELS
from tests.refused import refused

ROOT = Path(__file__).parents[3]
INTS = np.array([0], "<i4")


def model(
    root: dict[int, Any] | None = None,
    graph: dict[int, Any] | None = None,
    tensor: dict[int, Any] | None = None,
    operator: dict[int, Any] | None = None,
    buffer: dict[int, Any] | None = None,
    code: dict[int, Any] | None = None,
) -> bytes:
    """A graph of one RELU, and what else is asked for."""
    tensors = [{0: np.array([1, 4], "<i4"), 2: 0, **(tensor or {})}]
    operators = [{0: 0, 1: INTS, 2: INTS, **(operator or {})}]
    graphs = [{0: tensors, 1: INTS, 2: INTS, 3: operators, **(graph or {})}]
    return prefix({1: [{0: 19, 3: 19, **(code or {})}], 2: graphs, 4: [buffer or {}], **(root or {})}, b"TFL3")


def test_a_plain_network_passes() -> None:
    check_tflite(model())
    signature = {0: [{0: "x", 1: 0}], 1: [{0: "y", 1: 0}], 2: "serving_default"}
    check_tflite(
        model({5: INTS, 6: [{0: "min_runtime_version", 1: 0}], 7: [signature]}, {4: "main"}, {3: "x", 7: INTS})
    )
    for file in MODELS["tflite"].parent.glob("*.tflite"):
        check_tflite(file.read_bytes())
    bundle = ROOT / "build" / "surfaces.edge"
    if bundle.exists():
        with zipfile.ZipFile(bundle) as archive:
            for name in archive.namelist():
                if name.endswith(".tflite"):
                    check_tflite(archive.read(name))


@pytest.mark.parametrize(
    ("code", "says", "strange"),
    [
        ("model-unsafe", "another file", model({8: [{}]})),
        ("model-unsafe", "another file", model({9: [{}]})),
        ("model-unsafe", "another file", model(tensor={10: 1})),
        ("model-damaged", "bytes", model(buffer={1: Long(1 << 40), 2: Long(9)})),
        ("model-damaged", "bytes", model(buffer={1: Long(16), 2: Long(1 << 40)})),
        ("model-unsafe", "variables", model(tensor={5: 1})),
        ("model-unsafe", "sparse weights", model(tensor={6: {}})),
        ("model-unsafe", "several types", model(tensor={9: [{}]})),
        ("model-unsafe", "quantize", model(tensor={4: {4: 2, 5: {}}})),
        ("model-unsafe", "options of a custom", model(operator={5: b"x"})),
        ("model-unsafe", "options of a custom", model(operator={9: Long(64)})),
        ("model-unsafe", "StableHLO", model(operator={11: 1, 12: {}})),
        ("model-unsafe", "VAR_HANDLE", model(code={0: 127, 3: 142})),
        ("model-damaged", "number 7 of 1 buffers", model({6: [{0: "x", 1: 7}]})),
        ("model-damaged", "number 7 of 1 buffers", model({5: np.array([7], "<i4")})),
        ("model-damaged", "number 5 of 1 tensors", model({7: [{0: [{0: "x", 1: 5}]}]})),
        ("model-damaged", "number 1 of 1 graphs", model({7: [{4: 1}]})),
        ("model-unsafe", "field 50", model({50: 1})),
        ("model-unsafe", "graph has a field 40", model(graph={40: 1})),
        ("model-unsafe", "tensor has a field 40", model(tensor={40: 1})),
        ("model-unsafe", "operator has a field 40", model(operator={40: 1})),
        ("model-unsafe", "buffer has a field 40", model(buffer={40: 1})),
        ("model-unsafe", "operator code has a field 40", model(code={40: 1})),
    ],
)
def test_what_a_plain_network_does_not_need_is_refused_by_name(code: str, says: str, strange: bytes) -> None:
    with refused(code, BundleError, says):
        check_tflite(strange)


def test_a_field_that_holds_nothing_is_no_reason_to_refuse() -> None:
    check_tflite(model({8: [], 9: []}, tensor={5: 0, 10: 0}, operator={5: b"", 9: Long(0), 11: 0}))


def test_options_that_lead_beyond_the_file_are_refused() -> None:
    reshape = model(operator={3: 17, 4: {0: np.array([1, 4], "<i4")}}, code={0: 22, 3: 22})
    check_tflite(reshape)
    at = reshape.rindex(np.array([2, 1, 4], "<i4").tobytes())
    with refused("model-damaged", BundleError, "bytes"):
        check_tflite(reshape[:at] + np.array([1 << 28], "<i4").tobytes() + reshape[at + 4 :])
