"""What a label may be called, and where a photo's label comes from.

Owns the one rule for names, used for folders on the workstation and for `teach`, `relabel`, `rename` on the device.
A label is 1 to 100 characters of any script, emoji included, without path separators or control characters: it can
always be a folder's name, a word on a command line and a line on a terminal.
"""

import shlex
import unicodedata
from collections.abc import Iterable

from edge.errors import LabelError

MAX_LENGTH = 100  # characters; a file name may hold 255 bytes, and a character up to 4
RESERVED = "unknown"  # the answer for a picture unlike everything taught

_JOINERS = "\u200c\u200d"  # the two format characters that words and emoji are really written with
# Unicode categories: control, format, surrogate, line and paragraph separators; Co and Cn: private use, unassigned
_NOT_PRINTED = frozenset(["Cc", "Cf", "Cs", "Zl", "Zp"])


def hidden(character: str) -> bool:
    """Whether a character is not shown, but controls the terminal or the direction of text."""
    return unicodedata.category(character) in _NOT_PRINTED and character not in _JOINERS


def clean(name: str) -> str:
    """Return `name` as a label: outer blanks removed, accents composed (Unicode NFC).

    Returns:
        The label; `clean(clean(x)) == clean(x)`.

    Raises:
        LabelError: it is empty, too long, reserved, or holds a character that a folder or terminal cannot show.

    >>> clean("  tin can ")
    'tin can'
    >>> clean("../etc")
    Traceback (most recent call last):
    ...
    edge.errors.LabelError: label '../etc' contains '/', which a folder name cannot contain; remove it
    """
    label = unicodedata.normalize("NFC", name).strip()
    if fault := _fault(label):
        raise LabelError("label-invalid", fault)
    return label


def _fault(label: str) -> str:
    """What keeps a text from being a label, and what to do; "" if nothing does."""
    if not label:
        return "a label must not be empty; give it a name such as 'glass'"
    if len(label) > MAX_LENGTH:
        return f"label '{label[:20]}…' has {len(label)} characters, but at most {MAX_LENGTH} are allowed; shorten it"
    for character in label:
        if character in "/\\":
            return f"label {label!r} contains '{character}', which a folder name cannot contain; remove it"
        if hidden(character) or unicodedata.category(character) in ("Co", "Cn"):
            return f"label {label!r} contains the unprintable character U+{ord(character):04X}; remove it"
    if label[0] in ".-":
        return f"label '{label}' begins with '{label[0]}'; it must begin with a letter or digit"
    if label.casefold() == RESERVED:
        return f"'{label}' is reserved for pictures that are unlike all examples; choose another name, such as 'other'"
    return ""


def beside(label: str, known: Iterable[str]) -> tuple[str, ...]:
    """Say, in one line, that a label differs from a known one in case, blanks or width alone; no line if none does.

    >>> beside("Tin  can", ["glass", "tin can"])
    ("'Tin  can' is a new label beside 'tin can'; if they mean the same: edge rename 'Tin  can' 'tin can' --merge",)
    >>> beside("tin can", ["tin can", "tin"])
    ()
    """
    other = next((other for other in known if other != label and _plain(other) == _plain(label)), None)
    if other is None:
        return ()
    merge = f"edge rename {shlex.quote(label)} {shlex.quote(other)} --merge"
    return (f"'{label}' is a new label beside '{other}'; if they mean the same: {merge}",)


def _plain(label: str) -> str:
    return "".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold()).split())
