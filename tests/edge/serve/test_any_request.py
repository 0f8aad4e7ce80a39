"""Whatever is asked of the page's server, it answers in one way: what was asked for, or one line that says why not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from .server import Server

ASKED = (
    "record", "record/on", "record/off", "photo", "photo/keep", "undo", "region", "login", "logout", "examples/move",
    "examples/forget", "labels/forget", "labels/rename", "retrain", "rollback", "review/name", "review/useless",
    "review/undo", "fleet/contribute", "fleet/follow",
)  # fmt: skip
READ = ("now", "frame", "why", "changes", "examples", "history", "waiting", "fleet", "findings", "healthz")
FIELDS = (
    "label", "examples", "files", "step", "generation", "old", "new", "merge", "password", "region", "name", "url",
    "session", "keep", "look", "before", "after", "count", "frame", "ids", "serving", "upload", "was", "force",
)  # fmt: skip
LABELS = some.sampled_from(["brick", "coins", "wall", "", " ", "a\nb", "\0", "x" * 300, "../..", "<b>", "\udce9", "ü"])
NUMBERS = some.sampled_from([0, 1, 2, 3, -1, 10**30, 1.5, float("1e308")])
EXAMPLE = some.fixed_dictionaries({}, optional={"id": NUMBERS | LABELS, "label": LABELS | NUMBERS})
VALUES = some.recursive(
    some.none() | some.booleans() | NUMBERS | LABELS, lambda inner: some.lists(inner | EXAMPLE, max_size=3) | EXAMPLE
)
BODIES = some.dictionaries(some.sampled_from(FIELDS), VALUES, max_size=4) | VALUES


def refused_or_done(server: Server, response: Any) -> None:
    assert response.status_code in {200, 204, 400, 403, 404, 405, 409, 413, 422, 429, 503}, (response.text, server.said)
    if response.status_code >= 400 and response.headers["content-type"] == "application/json":
        error = response.json()["error"]
        assert error
        assert "\n" not in error


@pytest.mark.fuzzing
def test_any_request_is_done_or_refused_in_one_line(server: Server) -> None:
    @given(some.sampled_from(ASKED), BODIES)
    def post(path: str, value: Any) -> None:
        refused_or_done(server, server.post(path, value))

    @given(some.sampled_from(READ), some.dictionaries(some.sampled_from(FIELDS), LABELS | NUMBERS, max_size=3))
    def get(path: str, params: dict[str, Any]) -> None:
        params = {name: str(value).encode("utf-8", "surrogatepass") for name, value in params.items()}
        refused_or_done(server, server.get(path, params=params))

    post()
    get()
    assert not [line for line in server.said if line.startswith("error: ") or "Traceback" in line], server.said
    assert server.get("healthz").json()["ok"]
