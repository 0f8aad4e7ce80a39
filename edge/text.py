"""Numbers as people read them, in messages of every part."""


def percent(share: float) -> str:
    """Write a share as people read it.

    >>> percent(0.8954)
    '89.5 %'
    """
    return f"{100 * share:.1f} %"


def plural(count: int, noun: str) -> str:
    """Write a count with its noun.

    >>> plural(1, "photo"), plural(3, "photo")
    ('1 photo', '3 photos')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
