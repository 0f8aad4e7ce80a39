"""A real browser over a real server: Debian's Chromium, driven by Playwright, on photographs of the sample.

`make test-web` sets it up. Without the browser, or its driver, these tests are skipped and say so.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edge.learner import Learner
from tests.edge.cameras import Camera, filming
from tests.edge.serve.server import Server, serving

PATIENCE = 90  # seconds, after which what never comes is given up
CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SIZES = {"phone": {"width": 390, "height": 844}, "desktop": {"width": 1600, "height": 900}}
SHOTS = os.environ.get("EDGE_SHOTS")  # where screenshots are kept; else nowhere
Page = Any


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("chromium is not here: sudo apt install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: make test-web")
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def surfaces() -> Path:
    """A folder with the bundle `surfaces.edge` and `sample`, as `make` builds them."""
    folder = Path(os.environ.get("EDGE_SURFACES", "build"))
    if not (folder / "surfaces.edge").is_file() or not (folder / "sample" / "device").is_dir():
        pytest.skip("the sample is not built: make build/surfaces.edge")
    return folder


@pytest.fixture(scope="session")
def photos(surfaces: Path) -> dict[str, list[Path]]:
    """Photographs by what is on them: the bundle's three labels, and coins."""
    sample = surfaces / "sample"
    found = {folder.name: sorted(folder.glob("*.jpg")) for folder in (sample / "photos").iterdir()}
    return found | {"coins": sorted((sample / "device" / "coins").glob("*.jpg"))}


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory, surfaces: Path, photos: dict[str, list[Path]]) -> Path:
    """A home that was taught coins and bricks, with frames to review, and three generations."""
    home = tmp_path_factory.mktemp("taught") / "home"
    with Learner.init(home, surfaces / "surfaces.edge", keep_crops=True) as learner:
        learner.teach("coins", photos["coins"][:8])
        learner.retrain()
        learner.teach("brick", photos["brick"][:6])
        learner.teach("grass", [photos["gravel"][0]])  # a wrong label
        learner.retrain()
    folder = home / "uncertain"
    folder.mkdir()
    waiting = [photos["gravel"][1], photos["gravel"][2], photos["grass"][1], photos["coins"][9], photos["brick"][8]]
    for minute, photo in enumerate(waiting):
        shutil.copy(photo, folder / f"uncertain-20261124T10{minute:02}00.000000.jpg")
    again = Image.open(waiting[0]).convert("RGB")
    again.putpixel((0, 0), (0, 0, 0))
    again.save(folder / "uncertain-20261124T100900.000000.jpg", quality=95)
    return home


@pytest.fixture
def home(tmp_path: Path, taught: Path) -> Path:
    """A copy of `taught`."""
    return Path(shutil.copytree(taught, tmp_path / "home"))


@pytest.fixture
def camera(photos: dict[str, list[Path]]) -> Iterator[Camera]:
    """Motion JPEG of coins, which move a little from frame to frame."""
    images = [Image.open(photo).convert("RGB").resize((480, 360)) for photo in photos["coins"]]

    def show(number: int) -> Image.Image:
        shift = 3 * (number % 20)
        return images[number // 20 % len(images)].crop((shift, 0, 400 + shift, 360))

    with filming(show, fps=20) as running:
        yield running


@pytest.fixture
def server(home: Path, camera: Camera) -> Iterator[Server]:
    with serving(home, camera.url(), "--every", 0.1) as running:
        running.until(lambda: running.now()["answer"])
        yield running


class Watched:
    """A page with everything that must not happen on it: errors, and requests to anywhere else."""

    def __init__(self, context: Any, server: Server) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(1000 * PATIENCE)
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._url = server.url
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._hear)
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _hear(self, message: Any) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.problems.append(message.text)

    def check(self) -> None:
        assert not self.problems
        outside = [url for url in self.requests if not url.startswith((self._url, "blob:" + self._url.rstrip("/")))]
        assert not outside


@pytest.fixture
def opening(browser: Any) -> Iterator[Callable[..., Page]]:
    """Open a page of a server, at a size and in a colour scheme."""
    watched: list[Watched] = []
    contexts: list[Any] = []

    def open_page(path: str = "", size: str = "desktop", scheme: str = "light", *, on: Server) -> Page:
        context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, has_touch=size == "phone")
        contexts.append(context)
        watched.append(Watched(context, on))
        watched[-1].page.goto(on.url + path)
        return watched[-1].page

    yield open_page
    for one in watched:
        one.check()
    for context in contexts:
        context.close()


@pytest.fixture
def opened(opening: Callable[..., Page], server: Server) -> Callable[..., Page]:
    """Open a page of `server`."""
    return partial(opening, on=server)


def until(page: Page, true: str, given: Any = None) -> None:
    """Wait until an expression is true on a page; `wait_for_function` would need eval, which the page forbids."""
    end = time.monotonic() + PATIENCE
    while not page.evaluate(true, given):
        assert time.monotonic() < end, f"never true: {true}"
        page.wait_for_timeout(50)


def learned(home: Path) -> list[tuple[str, str | None]]:
    """What a home was taught: label and session of each example, oldest first."""
    with Learner(home) as learner:
        return [(example.label, example.session) for example in learner.list_examples()]
