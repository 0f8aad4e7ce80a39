"""`contribute` and `follow`, killed before and after each write: home and store are old or new, the next call ends it.

What a power cut leaves of SQLite's own writes is `make torture`'s; here a process dies between two steps.
"""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("obstore")

from edge.fleet.remote import open_remote
from edge.learner import Learner
from edge.testing import surface
from tests.edge.fleet.pooled import pooled
from tests.edge.fleet.published import publish

pytestmark = pytest.mark.kills


@pytest.mark.parametrize(("what", "steps"), [("contribute", 8), ("follow", 15)])
def test_killed_at_every_write_it_is_old_or_new_and_the_next_call_ends_it(
    what: str, steps: int, tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "template"
    (folder / "store").mkdir(parents=True)
    with Learner.init(folder / "home", tiny_bundle) as learner:
        learner.teach("coins", [surface("coins", seed) for seed in range(4)])
    release = pooled(tiny_bundle, tmp_path / "fleet.edge", ["b" * 32])
    publish(open_remote((folder / "store").as_uri()), 1, 1, release.path)
    command = [sys.executable, "-m", "tests.edge.fleet.mortal", what, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr
    seen = done.stdout.split()
    assert len(seen) > steps
    assert seen == sorted(seen, key=["old", "new"].index)  # once it is new, it stays new
    assert set(seen) == {"old", "new"}
