"""Numbers and errors as people read them, in messages of every part."""


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


def first_line(error: BaseException) -> str:
    """Write an exception of another library in one line of at most 200 characters.

    >>> first_line(ValueError("no such layer\\nin block 3")), first_line(ValueError())
    ('no such layer', 'ValueError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def storable(text: str) -> str:
    r"""Return text that can be stored as UTF-8: what stands for bytes that are not is escaped.

    >>> print(storable("caf\udce9"))
    caf\udce9
    """
    return text.encode("utf-8", "backslashreplace").decode()
