"""Does this machine see what the workstation saw? `python -m tests.arm.parity BUNDLE REFERENCE PHOTOS…`

Runs inside the emulated system. Every model of the bundle that the runtime here can run embeds the golden pictures,
and is compared with PyTorch's embeddings, and real photographs, and is compared with what the workstation's ONNX
Runtime gave for the same pixels at full precision. The photographs are decoded here, too, and compared pixel by pixel.
Prints one JSON object a model.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edge.bundle import archive
from edge.network import backbone
from edge.network.backbone import RUNTIMES
from edge.network.parity import measure_parity
from edge.picture import preprocess


@dataclass(frozen=True)
class Proof:
    """How one model agrees: `error` = max |a−b| / max |b| and the worst picture's cosine, of the worse of both sets."""

    model: str
    precision: str
    runtime: str
    pictures: int
    error: float
    cosine: float
    pixels: int  # largest difference of a decoded photograph, 0–255


def prove(path: Path, reference: Path, photos: list[Path]) -> list[Proof]:
    """Compare every model of the bundle that can run here."""
    opened = archive.read(path)
    opened.verify()
    info, golden = opened.manifest.backbone, opened.golden()
    kept = np.load(reference, allow_pickle=False)
    pixels, embeddings = kept["pixels"], kept["embeddings"]
    seen = np.stack([preprocess.load(photo, info.input_size, info.short_side) for photo in photos])
    strayed = int(np.abs(seen.astype(int) - pixels).max())
    proofs = []
    for model in opened.manifest.models:
        for runtime in RUNTIMES:
            if runtime.format == model.format and runtime.installed:
                network = backbone.open_backbone(opened.entry(model.file), runtime, threads=1)
                both = [
                    measure_parity(network.embed(golden.images), golden.embeddings),
                    measure_parity(network.embed(pixels), embeddings),
                ]
                error, cosine = max(p.error for p in both), min(p.cosine for p in both)
                count = len(golden.images) + len(pixels)
                proofs.append(Proof(model.file, model.precision, runtime.name, count, error, cosine, strayed))
    return proofs


if __name__ == "__main__":
    for proof in prove(Path(sys.argv[1]), Path(sys.argv[2]), list(map(Path, sys.argv[3:]))):
        print(json.dumps(asdict(proof)))
