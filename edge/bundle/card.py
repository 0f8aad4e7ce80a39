"""A bundle's card, for people: its labels, accuracy, data, licence and limits.

The card is Markdown with a YAML header, like model cards on Hugging Face. Pure: every figure comes from the manifest or
is a count of examples. `archive.write` puts the card into the manifest, so the signature covers it; older programs
ignore it.

Source: huggingface_hub's model card metadata (license, library_name, pipeline_tag, tags, model-index).
"""

import json
import re
from collections.abc import Sequence

from edge.bundle.manifest import BackboneInfo, Manifest
from edge.text import plural

SHOWN = 50  # labels that are listed
LONG = 200  # characters of a licence that are shown
MARK = "library_name: edge-transfer"  # in the first lines of every card
_SPDX = re.compile(r"[a-z0-9][a-z0-9.+-]*", re.IGNORECASE)
_FITS = {
    "crop": "the centre square of each picture, {share:.0%} of its shorter side",
    "pad": "the whole picture, with bars at its sides",
    "stretch": "the whole picture, stretched to a square",
}


def card(manifest: Manifest, counts: Sequence[int], trained_on: int) -> str:
    """Return a bundle's card.

    Args:
        counts: the number of examples of each label.
        trained_on: how many examples the network was adapted on; accuracy is not measured on these.

    >>> from edge.bundle.manifest import BackboneInfo
    >>> network = BackboneInfo("tiny", "0", "random", "Apache-2.0", 8, 8, 4)
    >>> text = card(Manifest("kitchen", "2026-11-29T00:00:00Z", network, ("cup", "tin"), (), None), (3, 4), 0)
    >>> [line for line in text.splitlines() if "tin" in line and len(line) < 20]
    ['- "tin"', '| tin | 4 |']
    """
    sections = [
        _head(manifest),
        f"# {_plain(manifest.name)}",
        f"A bundle of {manifest.program}, made {manifest.created}: a frozen network, and what a device needs to fit "
        f"and refit its last layer. It tells {plural(len(manifest.labels), 'label')} apart.",
        _run(manifest),
        _labels(manifest, counts, trained_on),
        _accuracy(manifest),
        _network(manifest.backbone),
        _files(manifest),
        _limits(manifest),
    ]
    return "\n\n".join(sections) + "\n"


def _head(manifest: Manifest) -> str:
    """Return the YAML header; strings are written as JSON, which is valid YAML."""
    licence = manifest.backbone.licence
    known = _SPDX.fullmatch(licence) is not None
    lines = ["---", f"license: {_quoted(licence.lower() if known else 'other')}"]
    if not known:
        lines.append(f"license_name: {_quoted(_short(licence))}")
    lines += [
        MARK,
        "pipeline_tag: image-classification",
        "tags: [image-classification, transfer-learning, on-device, few-shot]",
        "labels:",
        *(f"- {_quoted(label)}" for label in manifest.labels[:SHOWN]),
        "model-index:",
        f"- name: {_quoted(manifest.name)}",
    ]
    told = manifest.accuracy
    if told is None:
        lines.append("  results: []")
    else:
        lines += [
            "  results:",
            "  - task: {type: image-classification}",
            "    dataset: {name: photos kept back from training, type: private}",
            "    metrics:",
            "    - type: accuracy",
            f"      value: {json.dumps(told.accuracy)}",
            f"      args: {{low: {json.dumps(told.low)}, high: {json.dumps(told.high)}, photos: {told.photos}}}",
        ]
    return "\n".join([*lines, "---"])


def _run(manifest: Manifest) -> str:
    name = f"{manifest.name}.edge"
    file = name if re.fullmatch(r"[\w.-]+", name) else "BUNDLE.edge"
    return f"""## How to run it

```sh
pip install 'edge-transfer[onnx]'    # on a device; or [tflite], or [tflite-runtime]
edge init {file}
edge classify photo.jpg
edge teach LABEL photos && edge retrain
```"""


def _labels(manifest: Manifest, counts: Sequence[int], trained_on: int) -> str:
    rows = [f"| {_plain(label)} | {count:,} |" for label, count in zip(manifest.labels, counts, strict=True)]
    more = [f"| … and {len(rows) - SHOWN:,} more | {sum(counts[SHOWN:]):,} |"] if len(rows) > SHOWN else []
    told = f"It holds {plural(sum(counts), 'example')}: numbers that the network made of each photo."
    if trained_on:
        told += f" The network was adapted on {trained_on:,} of them, which therefore count in no figure."
    if manifest.devices:
        told += f" They were contributed by {plural(len(manifest.devices), 'device')}, or come from the workstation."
    if "domain.npz" in manifest.files:
        told += " Of each photo there is a thumbnail of 8 × 8 pixels, too; the photos themselves are not in it."
    else:
        told += " The photos themselves are not in it."
    return "\n".join(
        ["## What it tells apart", "", "| label | examples |", "|---|---|", *rows[:SHOWN], *more, "", told]
    )


def _accuracy(manifest: Manifest) -> str:
    told = manifest.accuracy
    if told is None:
        return "## How good it is\n\nNot measured: no photos were kept back. Measure it on your own: `edge evaluate`."
    return (
        f"## How good it is\n\n**{told.accuracy:.1%}** of {plural(told.photos, 'photo')} that were kept back from "
        f"training were classified correctly (95 % interval: {told.low:.1%} to {told.high:.1%}). On other cameras, in "
        "other light and of other things it may be less: measure it there, with `edge evaluate`."
    )


def _network(info: BackboneInfo) -> str:
    looks = _FITS[info.fit].format(share=info.input_size / info.short_side)
    return (
        f"## The network\n\n`{info.name}`: pictures of {info.input_size} × {info.input_size} pixels ({looks}) become "
        f"{info.dimension:,} numbers. Its weights: {_plain(_short(info.weights))}. Their licence: "
        f"{_plain(_short(info.licence))}. The photos that it learned its labels from have licences of their own, which "
        "this program does not know."
    )


def _files(manifest: Manifest) -> str:
    rows = [
        f"| {model.file} | {model.precision} | {model.quantization} | {model.error:.2g} | {model.cosine:.5f} |"
        for model in manifest.models
    ]
    head = ["| file | precision | quantization | largest difference | least cosine |", "|---|---|---|---|---|"]
    told = "Differences are from the network in PyTorch, over the golden pictures that every device tries itself with."
    return "\n".join(["## The files of the network", "", *head, *rows, "", told])


def _limits(manifest: Manifest) -> str:
    told = [
        "It knows its labels only: a picture of anything else gets one of them, or `unknown`.",
        "Pictures that are dark, blurred or of another scene than its photos are less sure; `edge doctor` compares.",
        "Accuracy is that of photos like those it was made of. It is no measure for people's safety.",
    ]
    if "background.npz" in manifest.files:
        source = f" ({_plain(_short(manifest.background))})" if manifest.background else ""
        told.append(
            f"What is unknown is told with the help of pictures of anything{source}; it can be wrong both ways."
        )
    return "\n".join(["## Limits", "", *(f"- {line}" for line in told)])


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONG else f"{line[:LONG]}… (in full in manifest.json)"


def _plain(text: str) -> str:
    """Escape text so that Markdown shows it literally, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#&~])", r"\\\1", " ".join(text.split()))


def _quoted(text: str) -> str:
    """Quote text so that JSON and YAML read it alike; YAML has three more line-break characters."""
    quoted = json.dumps(text, ensure_ascii=False)
    return re.sub("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", lambda found: f"\\u{ord(found[0]):04x}", quoted)
