"""Graft a trained head onto a backbone's file: one ordinary ONNX or TFLite classifier that needs no code of ours.

Owns the formula and the checks of the head; `graft_onnx` and `graft_tflite` own the bytes. A device has numpy and one
runtime, but none of the usual tools for editing models. So both edit the file's bytes: they keep the backbone as it is
and append the head's few operators to its output::

    x = embedding                                  (N, D) float32, the backbone's output
    x = x / max(‖x‖₂, SMALLEST_NORM)               row by row; a row of zeros stays zeros
    probabilities = softmax(x @ weights + bias)    (N, C) float32

Measured against numpy in float64, on photos, over three runtimes and two networks: probabilities differ by at most
1.3e-6 where logits stay below 6, 2e-6 below 11, 7e-6 below 80: float32's own rounding of the logits.
"""

import unicodedata
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError, LabelError
from edge.modelfile.graft_onnx import graft_onnx
from edge.modelfile.graft_tflite import graft_tflite


def graft(
    backbone: bytes,
    runtime: Literal["onnx", "tflite"],
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    labels: Sequence[str],
) -> bytes:
    """Return the whole classifier, backbone and head, as the bytes of one model file.

    The same arguments give the same bytes. The backbone's own bytes are kept, quantized or not; the head is float32.
    Labels lie inside the file, in the order of the probabilities: in ONNX as a JSON list under the metadata key
    `labels`; in TFLite as `labels.txt`, one per line, in a zip appended to the model (`unzip model.tflite labels.txt`).

    Args:
        backbone: an ONNX or TFLite file of one graph with one output: float32 of D values per image (TFLite: or
            per-tensor quantized uint8 or int8), of rank 2 or more, axes of length 1 anywhere.
        runtime: which of the two formats `backbone` is in.
        weights: (D, C) float, finite. Divide weights and bias by the temperature beforehand.
        bias: (C,) float, finite.
        labels: C names of one or more characters, none of them a control character.

    Raises:
        BundleError: the backbone is damaged or unsupported, its embedding does not have D values, or the head does not
            match the description above.
        LabelError: a label cannot be written, or there are not C labels.

    Example:
        >>> graft(b"hello", "tflite", np.ones((8, 2), np.float32), np.zeros(2, np.float32), ["cat", "dog"])
        Traceback (most recent call last):
        ...
        edge.errors.BundleError: not a TFLite file: bytes 4 to 8 are b'o', expected b'TFL3'; build the bundle again
    """
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which the check refuses
        weights, bias = np.asarray(weights, "<f4"), np.asarray(bias, "<f4")
    _check_head(weights, bias, labels)
    add_head = {"onnx": graft_onnx, "tflite": graft_tflite}[runtime]
    return add_head(bytes(backbone), weights, bias, list(labels))


def _check_head(weights: NDArray[Any], bias: NDArray[Any], labels: Sequence[str]) -> None:
    if weights.ndim != 2 or bias.shape != weights.shape[1:] or 0 in weights.shape:
        raise BundleError(
            "head-damaged", f"the head has weights {weights.shape} and bias {bias.shape}, expected (D, C) and (C,)"
        )
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise BundleError("head-damaged", "the head contains values that are not finite in float32; retrain it")
    if len(labels) != len(bias):
        raise LabelError("labels-mismatch", f"the head has {len(bias)} columns but {len(labels)} labels; retrain it")
    for label in labels:
        # Cc: control characters, which would break a line-based list; Cs: half a UTF-16 pair, which no UTF-8 can hold.
        if not label or any(unicodedata.category(character) in ("Cc", "Cs") for character in label):
            raise LabelError("label-invalid", f"label {label!r} is empty or contains a control character; rename it")
