"""What all tests share: each worker calculates in one thread, with bytecode; nothing depends on speed.

Three groups of tests take most of the time and are marked: `converters`, `kills` and `fuzzing`. `make test-fast` leaves
them out.
"""

import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.once import once

collect_ignore = ["fuzz.py"]  # a program of its own: make fuzz

# As under both command lines; and the workers of pytest-xdist share the cores already.
for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
# Hundreds of tests start `edge` anew: without bytecode each one would compile all of it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A shell starts what it puts into the background deaf to Ctrl-C, and so would be the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline, whatever the machine does besides; on an emulated processor (tests/arm) fewer cases.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("emulated", settings.get_profile("here"), max_examples=20)
settings.load_profile("here")

SLOW = {
    "converters": "converts or trains a network, or needs what was made so",
    "kills": "kills processes, cuts the power or the wire, fills the memory, or sets up a throwaway machine",
    "fuzzing": "feeds many spoilt inputs to what reads them",
}
CONVERTED = {"surfaces", "built", "tiny_files"}  # fixtures: what needs one of them is of the converters
GROUPS = pytest.StashKey[dict[str, int]]()
HANG = 2700  # seconds of one test on however busy a machine, after which it will never end


@pytest.fixture(scope="session")
def surfaces() -> Path:
    """The folder that make filled: surfaces.edge, a bundle of the sample photographs, and these in sample/."""
    named = os.environ.get("EDGE_SURFACES")
    if not named:
        pytest.skip("EDGE_SURFACES names no folder; run make test")
    return Path(named).resolve()


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of the disk: where make puts the others into memory, `doctor` would warn that a reboot loses them."""
    if "PYTEST_DEBUG_TEMPROOT" not in os.environ:
        yield tmp_path_factory.mktemp("disk")
        return
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of exported networks, which all workers of this run share (`tests/once.py`)."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "exports"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def exported_once(exports: Path) -> Iterator[None]:
    """Let `adapt`, `compare` and `build` export each network for real, but once."""
    from export.bundle import build
    from export.convert import frozen

    to_onnx, to_tflite = once(build.to_onnx, exports), once(build.to_tflite, exports)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen, "to_onnx", to_onnx)
        patch.setattr(build, "to_onnx", to_onnx)
        patch.setattr(build, "to_tflite", to_tflite)
        yield


@pytest.fixture
def groups(request: pytest.FixtureRequest) -> dict[str, int]:
    """The number of tests in each slow group, where all tests were collected."""
    if [Path(argument).resolve() for argument in request.config.args] != [Path(__file__).parent]:
        pytest.skip("only a part of the tests was collected; run make test")
    return request.config.stash[GROUPS]


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in SLOW.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


@pytest.hookimpl(tryfirst=True)  # before `-m` takes any away
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if CONVERTED & set(getattr(item, "fixturenames", ())):
            item.add_marker("converters")
    config.stash[GROUPS] = {name: sum(name in item.keywords for item in items) for name in SLOW}
    # The long ones first, those of the whole program at the head: else one worker would end long after the others.
    items.sort(key=lambda item: (not any(name in item.keywords for name in SLOW), len(item.path.parts)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[object]:
    """Let a test that hangs fail where it hangs, again and again should something catch it; its child may go on."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"this did not end within {HANG} seconds"))
    signal.setitimer(signal.ITIMER_REAL, HANG, 60)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests each group has and how long they took, in seconds of all workers together."""
    tests, seconds = Counter[str](), Counter[str]()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                group = _group(report)
                seconds[group] += report.duration
                tests[group] += report.when == "call" or report.outcome == "skipped"
    terminalreporter.section("groups")
    for group, duration in seconds.most_common():
        terminalreporter.write_line(f"{duration:6.0f} s  {tests[group]:5} tests  {group}")


def _group(report: pytest.TestReport) -> str:
    """The slow group that a test is marked with, or the folder that it lies in."""
    for name in SLOW:
        if name in report.keywords:
            return name
    return "/".join(Path(report.nodeid.partition("::")[0]).parent.parts)
