"""What a refusal is held to in every test: its class, its code, and the facts in its one line; never the wording."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edge.codes import CODES
from edge.errors import EdgeError


@contextmanager
def refused(code: str, kind: type[EdgeError] = EdgeError, *facts: object) -> Iterator[pytest.ExceptionInfo[EdgeError]]:
    """Expect an error with this code.

    Args:
        code: a key of `CODES`.
        kind: the error's class.
        facts: what the message must contain, as whole words: names, values, commands.
    """
    assert code in CODES
    with pytest.raises(kind) as caught:
        yield caught
    assert caught.value.code == code, str(caught.value)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    for fact in map(str, facts):
        assert re.search(rf"(?<![\w.]){re.escape(fact)}(?!\w)", message), f"{fact!r} is not in: {message}"
