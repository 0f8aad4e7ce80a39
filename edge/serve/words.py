"""Rewords messages for the page, without the commands that they mention. Pure."""

import re

_COMMAND = re.compile(r"\bedge(?:-export)? [a-z-]+\b|\b--[a-z]")

_INSTALL = re.compile(r", or: pip install \S+")

_OURS = {
    "generation": "version",
    "each left out": "each tested as if it had never been taught",
}


def plain(text: str) -> str:
    """Make one line of a message without the commands in it, because nobody can type them on a phone.

    >>> plain("there is no generation 7; see: edge history")
    'There is no version 7.'
    >>> plain("of 9 pictures from the bundle, each left out, it classifies 4 correctly")
    'Of 9 pictures from the bundle, each tested as if it had never been taught, it classifies 4 correctly.'
    >>> plain("the picture is too dark (12 % of the usual light): add light or expose longer")
    'The picture is too dark (12 % of the usual light): add light or expose longer.'
    >>> plain("upload: IMG_1.heic is an HEIC picture; convert it to JPEG, or: pip install 'edge-transfer[heic]'")
    'IMG_1.heic is an HEIC picture; convert it to JPEG.'
    """
    text = _INSTALL.sub("", " ".join(text.removeprefix("upload: ").split("\n")))
    parts = [part.strip() for part in text.split("; ")]
    kept = [part for part in parts if not _COMMAND.search(part)] or [_COMMAND.split(parts[0])[0].strip(" :,(")]
    said = "; ".join(kept)
    for word, ours in _OURS.items():
        said = said.replace(word, ours)
    return said[:1].upper() + said[1:] + ("" if said.endswith((".", "!", "?")) else ".")
