"""Does the network help here? Compare it with the same head on 8 × 8 pixels.

If a backbone's head is not more accurate than one fitted to thumbnails, the backbone does not help with these pictures.
"""

from typing import TYPE_CHECKING

import numpy as np

from edge.head.fit import Examples, fit
from edge.metrics.left_out import Judged
from edge.retraining.gather import Gathered

if TYPE_CHECKING:
    from edge.home.state import Home

PIXELS = 600  # examples, at most
GOOD = 0.97  # accuracy above which nobody needs another backbone
FEW = 30  # examples, below which two accuracies around 50 % differ by 25 points by chance in 1 of 20 cases


def pixel_accuracy(home: "Home", gathered: Gathered, judged: Judged) -> float | None:
    """The leave-one-out accuracy on thumbnails, for the labels that are measured; None without thumbnails."""
    taught, store = gathered.basis.taught, home.store
    thumbs = store.thumbs()
    if any(example.id not in thumbs for example in taught):
        return None
    pixels = [thumbs[example.id] for example in taught]
    labels, sessions = gathered.labels, gathered.sessions
    if judged.scope == "all":
        domain = home.bundle.domain()
        if domain is None:
            return None
        pixels += [thumb for thumb, name in zip(domain.thumbs, gathered.names, strict=True) if name is not None]
        labels += gathered.factory.labels
        sessions += gathered.factory.sessions
    step = -(-len(pixels) // PIXELS)
    order = sorted(range(len(labels)), key=lambda row: labels[row])[::step]
    table = np.stack([pixels[row] for row in order]).reshape(len(order), -1).astype(np.float32)
    chosen = tuple(labels[row] for row in order)
    if len(set(chosen)) < 2:
        return None
    result = fit(Examples(table, chosen, tuple(sessions[row] for row in order)))
    left_out = {judged.fit.head.labels[m.column] for m in judged.missing}
    measured = np.isfinite(result.loo).all(axis=1) & np.array([label not in left_out for label in chosen])
    right = [result.head.labels[i] == label for i, label in zip(result.loo.argmax(axis=1), chosen, strict=True)]
    return float(np.mean(np.array(right)[measured])) if measured.any() else None


def advice(accuracy: float | None, pixels: float | None, counted: int) -> str:
    """Say what to do if the network is not better than pixels on the `counted` examples; "" if it is.

    >>> advice(0.5, 0.5625, 16)
    '8 × 8 pixels alone are at least as accurate (56.2 %), which may be chance with 16 examples; teach more first'
    >>> advice(0.8, 0.7, 16)
    ''
    """
    if accuracy is None or pixels is None or accuracy > pixels or accuracy >= GOOD:
        return ""
    alone = f"8 × 8 pixels alone are at least as accurate ({100 * pixels:.1f} %)"
    if counted < FEW:
        return f"{alone}, which may be chance with {counted} examples; teach more first"
    return (
        f"{alone}: this backbone does not help here; on the workstation, fine-tune one on such photos with edge-export "
        "adapt"
    )
