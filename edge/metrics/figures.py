"""The figures that a generation stores beside its head, as JSON, and how they are read and checked.

Pure. Figures that an older program did not store are missing; if one of the others has a wrong type, all are refused.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from edge.metrics.unmeasured import is_stored

_DIGITS = 20  # of a whole number, or shown of one that is out of range


def _share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_share, value))


def _text(value: Any) -> bool:
    return isinstance(value, str)


_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "loo_accuracy": lambda value: value is None or _share(value),
    "loo_interval": lambda value: value is None or _interval(value),
    "scope": lambda value: value in ("local", "all"),
    "unmeasured": is_stored,
    "local_examples": _count,
    "factory_examples": _count,
    "held_out_examples": _count,
    "held_out_right": _count,
    "promoted": lambda value: isinstance(value, bool),
    "refusal": _text,
    "bundle": _text,
}


def read_figures(text: str) -> dict[str, Any]:
    """Read a generation's figures; an accuracy of NaN, which 0.1.0 stored if nothing was measured, becomes None.

    Raises:
        ValueError: the text is not a JSON object, or a figure has a wrong type.

    >>> read_figures('{"loo_accuracy": 0.5, "promoted": true}')
    {'loo_accuracy': 0.5, 'promoted': True}
    >>> read_figures('{"loo_accuracy": NaN, "loo_interval": [0, 1]}')
    {'loo_accuracy': None, 'loo_interval': None}
    >>> read_figures('{"loo_accuracy": "good"}')
    Traceback (most recent call last):
    ...
    ValueError: its loo_accuracy is 'good'
    """
    told = read_json(text, nan=True)
    if not isinstance(told, dict):
        raise ValueError("its figures are not a JSON object")
    accuracy = told.get("loo_accuracy")
    if isinstance(accuracy, float) and math.isnan(accuracy):
        told |= {"loo_accuracy": None, "loo_interval": None}
    for name, fits in _KINDS.items():
        if name in told and not fits(told[name]):
            raise ValueError(f"its {name} is {told[name]!r}"[:100])
    return told


def read_ids(text: str) -> list[int | None]:
    """Read a list of label ids; None stands for a forgotten label.

    Raises:
        ValueError: the text is not a JSON list of ids.
    """
    ids = read_json(text)
    if not isinstance(ids, list) or not all(i is None or _count(i) for i in ids):
        raise ValueError("these are no ids of labels")
    return ids


def read_json(text: str | bytes, nan: bool = False) -> Any:
    """Read untrusted JSON; NaN, which is not JSON, is accepted only with `nan`.

    Raises:
        ValueError: the text is not JSON, is nested too deeply, or contains a number out of range.

    >>> read_json("[1e999]")
    Traceback (most recent call last):
    ...
    ValueError: the number 1e999 is out of range
    """
    try:
        return json.loads(text, parse_int=_integer, parse_float=_real, parse_constant=float if nan else _real)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"the number {text[:_DIGITS]}… of {len(text)} digits is out of range")
    return int(text)


def _real(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:_DIGITS]} is out of range")
    return number
