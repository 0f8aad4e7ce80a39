"""What people read on the page: an error's text without the command lines that it names. Pure."""

import re

_COMMAND = re.compile(r"\bedge(?:-export)? [a-z-]+\b|\b--[a-z]")


def plain(text: str) -> str:
    """Leave out the parts of a message that name a command, which nobody can type on a phone.

    >>> plain("there is no generation 7; see: edge history")
    'There is no generation 7.'
    >>> plain("the picture is too dark (12 % of the usual light): add light or expose longer")
    'The picture is too dark (12 % of the usual light): add light or expose longer.'
    """
    parts = [part.strip() for part in text.split("; ")]
    kept = [part for part in parts if not _COMMAND.search(part)] or [_COMMAND.split(parts[0])[0].strip(" :,(")]
    said = "; ".join(kept)
    return said[:1].upper() + said[1:] + ("" if said.endswith((".", "!", "?")) else ".")
