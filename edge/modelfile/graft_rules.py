"""What both grafts share: the classifier's output, the floor of the norm, and the check of the backbone's output.

The floor is the one that TFLite's L2_NORMALIZATION has built in (Source: tensorflow/lite/kernels/internal/reference/
l2normalization.h); ONNX gets the same, so that both files answer alike.
"""

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from edge.errors import BundleError

OUTPUT = "probabilities"
"""Name of the classifier's only output."""

SMALLEST_NORM = 1e-6
"""A shorter embedding is divided by this instead of by its own length."""

_MOST_AXES = 8  # more than any image network gives; bounds the work on a damaged file


def check_dimension(axes: Sequence[int], weights: NDArray[Any]) -> int:
    """Return how many values per image an output of these axes has; the first one is the images'.

    Raises:
        BundleError: an axis after the first is not fixed (less than 1), or the head expects another number.
    """
    if not 2 <= len(axes) <= _MOST_AXES:
        raise BundleError(
            "model-unsuitable",
            f"the backbone's output has {len(axes)} axes, expected 2 to {_MOST_AXES}; build the bundle again",
        )
    dimension = math.prod(axes[1:]) if min(axes[1:]) > 0 else 0
    if dimension != weights.shape[0]:
        raise BundleError(
            "embeddings-mismatch",
            f"the head expects {weights.shape[0]} features, but the backbone gives {dimension or 'no fixed number'};"
            " build the bundle again",
        )
    return dimension
