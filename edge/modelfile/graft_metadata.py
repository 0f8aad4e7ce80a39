"""Writes a TFLite classifier's `TFLITE_METADATA`, which MediaPipe, Android and other programs read.

The metadata is a separate flatbuffer inside the model. It says that the input is RGB bytes from 0 to 255 without
normalisation, and that the labels are in a file in the zip appended to the model.

Source: field ids and enumerations from metadata_schema.fbs of TensorFlow Lite Support, schema 1.0.
"""

import numpy as np

from edge.modelfile.flatbuffer import Value, prefix

METADATA = "TFLITE_METADATA"
"""Name of the entry in the model's list of metadata."""

_IDENTIFIER = b"M001"
_NAME, _SUBGRAPHS, _MIN_PARSER = 0, 3, 7  # ModelMetadata
_INPUTS, _OUTPUTS = 2, 3  # SubGraphMetadata
_TENSOR_NAME, _TENSOR_TEXT, _CONTENT, _PROCESS_UNITS, _STATS, _FILES = 0, 1, 3, 4, 5, 6  # TensorMetadata
_CONTENT_TYPE, _CONTENT_PROPERTIES = 0, 1  # Content, whose properties are a union
_FEATURE, _IMAGE = 1, 2  # ContentProperties
_COLOUR_SPACE, _RGB = 0, 1  # ImageProperties
_OPTIONS_TYPE, _OPTIONS, _NORMALIZATION = 0, 1, 1  # ProcessUnit, and the first of its options
_MEAN, _STD = 0, 1  # NormalizationOptions
_MAX, _MIN = 0, 1  # Stats
_FILE_NAME, _FILE_TEXT, _FILE_TYPE, _AXIS_LABELS = 0, 1, 2, 2  # AssociatedFile
_PARSER = "1.0.0"  # the oldest schema that has all of this


def metadata(labels_file: str, output: str) -> bytes:
    """Return the metadata of a classifier of uint8 pictures.

    Args:
        labels_file: name of the label file in the zip appended to the model.
        output: name of the output tensor with the probabilities.

    Example:
        >>> metadata("labels.txt", "probabilities")[4:8]
        b'M001'
    """
    image: dict[int, Value] = {
        _TENSOR_NAME: "image",
        _TENSOR_TEXT: "The picture: red, green, blue, from 0 to 255. The model normalises it itself.",
        _CONTENT: {_CONTENT_TYPE: _IMAGE, _CONTENT_PROPERTIES: {_COLOUR_SPACE: _RGB}},
        _PROCESS_UNITS: [{_OPTIONS_TYPE: _NORMALIZATION, _OPTIONS: {_MEAN: _floats(0), _STD: _floats(1)}}],
        _STATS: {_MAX: _floats(255), _MIN: _floats(0)},
    }
    probabilities: dict[int, Value] = {
        _TENSOR_NAME: output,
        _TENSOR_TEXT: "The probability of each label.",
        _CONTENT: {_CONTENT_TYPE: _FEATURE, _CONTENT_PROPERTIES: {}},
        _STATS: {_MAX: _floats(1), _MIN: _floats(0)},
        _FILES: [{_FILE_NAME: labels_file, _FILE_TEXT: "The labels, in their order.", _FILE_TYPE: _AXIS_LABELS}],
    }
    root: dict[int, Value] = {
        _NAME: "image classifier",
        _SUBGRAPHS: [{_INPUTS: [image], _OUTPUTS: [probabilities]}],
        _MIN_PARSER: _PARSER,
    }
    return prefix(root, _IDENTIFIER)


def _floats(value: float) -> Value:
    return np.array([value], "<f4")
