"""Check a bundle on this machine: is it intact, and does it give the same embeddings as when it was built?"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.bundle import archive
from edge.bundle.archive import Bundle
from edge.bundle.signature import Key, signer, verify
from edge.errors import RuntimeMissing, SignatureError
from export.convert.parity import Proof, prove_everywhere


@dataclass(frozen=True)
class Checked:
    """An intact bundle."""

    bundle: Bundle
    examples: Mapping[str, int]  # number of examples by label
    proofs: tuple[Proof, ...]  # one for every model and every runtime that works here
    signer: Key | None  # the key that signed it, or None


def check(path: Path) -> Checked:
    """Verify a bundle to the last byte and repeat its proof of parity.

    Raises:
        BundleError: The bundle is damaged; the message says how.
        ParityError: A model gives other embeddings here than when the bundle was built.
        SignatureError: The bundle was changed after it was signed.
    """
    opened = archive.read(path)
    opened.verify()
    golden, examples = opened.golden(), opened.examples()
    proofs: list[Proof] = []
    for model in opened.manifest.models:
        with contextlib.suppress(RuntimeMissing):
            proofs += prove_everywhere(opened.entry(model.file), model.file, model.format, model.precision, golden)
    counts = np.bincount(examples.labels, minlength=len(opened.manifest.labels)).tolist()
    return Checked(opened, dict(zip(opened.manifest.labels, counts, strict=True)), tuple(proofs), _signer(opened))


def _signer(opened: Bundle) -> Key | None:
    if opened.signature is None:
        return None
    try:
        return verify(opened.text, opened.signature, [signer(opened.signature)])
    except SignatureError as error:
        raise SignatureError(error.code, f"{opened.path}: {error}; sign it again: edge-export sign") from None
