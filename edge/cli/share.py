"""The commands for exchanging models with others: `export`, `trust`."""

from pathlib import Path

import click

from edge.cli import app, wording
from edge.cli.terminal import PATH


@click.command()
@click.argument("file", type=PATH)
@click.option(
    "--labels",
    type=PATH,
    metavar="LABELS.txt",
    help="Also write the labels to this file, one per line, in the order of the model's outputs.",
)
@app.shared
def export(file: Path, labels: Path | None) -> None:
    """Export the whole classifier to one .onnx or .tflite FILE.

    The file contains the network, its final layer and the labels. It runs in any ONNX or TFLite runtime without this
    program.
    """
    result = app.learner().export(file, labels)
    size = f"{result.bytes / 1e6:.1f} MB"
    app.answer(
        result,
        lambda: [
            f"wrote {result.file} ({size}): {len(result.labels)} labels, generation {result.generation}"
            "; it never reports unknown, unlike edge classify",
            *([f"wrote {result.labels_file}: the labels, in the order of the probabilities"] if labels else []),
        ],
    )


@click.command()
@click.argument("key", required=False)
@click.option("--remove", metavar="KEY", help="Stop trusting this key, given by its fingerprint, comment or full text.")
@app.shared
def trust(key: str | None, remove: str | None) -> None:
    """List the trusted public keys, or add KEY to them.

    KEY is a public key made by ssh-keygen: a .pub file or its text. Once a key is trusted, a bundle is refused unless
    a trusted key has signed it, and so is a bundle older than the newest one installed so far. Without trusted keys,
    any bundle is accepted.
    """
    from edge.bundle.signature import read_key

    opened = app.learner()
    if key is not None or remove is not None:
        opened.trust(read_key(key) if key else None, remove)
    result = opened.trusted()
    app.answer(result, lambda: wording.trusted(result))
