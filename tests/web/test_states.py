"""What the pages show when things are not as usual: nothing taught, no camera, a dialog, a refusal, no answer.

Each state is looked at by axe and fits the screen, in both colour schemes and on a phone and a desktop. With
`EDGE_SHOTS`, a picture of each is kept, to be looked at by people; then the photos are flowers of ../shared/data, where
they are there.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edge.learner import Learner
from edge.serve.password import put
from tests.edge.cameras import filming
from tests.edge.serve.server import PASSWORD, Server, serving

from .conftest import SHOTS, SIZES, until

FLOWERS = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "flowers5"
Open = Callable[..., Any]
LOOKS = [(size, scheme) for size in SIZES for scheme in ("light", "dark")]


@contextmanager
def each_look(opening: Open, server: Server, path: str, state: str) -> Iterator[list[Any]]:
    """Open a page in every look; when the block has brought each into the state, check it and keep its picture."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    pages = [opening(path, size, scheme, on=server) for size, scheme in LOOKS]
    yield pages
    for page, (size, scheme) in zip(pages, LOOKS, strict=True):
        found = axe.run(page)
        assert found.violations_count == 0, (state, size, scheme, found.generate_report())
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (state, size)
        if SHOTS:
            whole = not page.locator("dialog[open]").count() and path != "teach"  # there the picture stays in view
            page.screenshot(path=f"{SHOTS}/{state}-{size}-{scheme}.png", full_page=whole)
        page.close()


def flowers(photos: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """Photographs by label: flowers, or what the sample has."""
    if not FLOWERS.is_dir():
        return photos
    return {folder.name: sorted(folder.glob("*.jpg"))[:40] for folder in sorted((FLOWERS / "train").iterdir())}


@pytest.fixture
def garden(tmp_path: Path, surfaces: Path, photos: dict[str, list[Path]]) -> Path:
    """A home that knows flowers, one of them under a wrong label, with frames to review."""
    there = flowers(photos)
    with Learner.init(tmp_path / "garden", surfaces / "surfaces.edge", keep_crops=True) as learner:
        for label, files in there.items():
            learner.teach(label, files[:9])
        learner.teach(next(iter(there)), [list(there.values())[1][10]])
        learner.retrain()
        for label in ("brick", "grass", "gravel"):
            if label not in there:
                learner.forget(label=label)
        for label, files in there.items():
            learner.teach(label, files[11:14])
        learner.retrain()
    folder = tmp_path / "garden" / "uncertain"
    folder.mkdir()
    for minute, files in enumerate(there.values()):
        shutil.copy(files[20], folder / f"uncertain-20261124T10{minute:02}00.000000.jpg")
    return tmp_path / "garden"


def test_a_home_in_use(opening: Open, garden: Path, photos: dict[str, list[Path]]) -> None:
    images = [Image.open(files[15]).convert("RGB").resize((640, 480)) for files in flowers(photos).values()]
    with (
        filming(lambda number: images[number // 40 % len(images)], fps=10) as camera,
        serving(garden, camera.url(), "--every", 0.5) as server,
    ):
        server.until(lambda: len(server.now("changes")) > 1)
        with each_look(opening, server, "", "used-watch") as pages:
            for page in pages:
                until(page, "document.querySelectorAll('#bars li').length > 1")
                page.wait_for_selector("#changes .tile")
        with each_look(opening, server, "", "used-why") as pages:
            for page in pages:
                page.click("#why:not([disabled])")
                page.wait_for_selector("dialog .tile")
        with each_look(opening, server, "teach", "used-teach") as pages:
            for page in pages:
                page.wait_for_selector("#labels button:not([disabled])")
                page.click("#region summary")
                page.wait_for_selector("#drawing:not([hidden])")
        with each_look(opening, server, "review", "used-review") as pages:
            for page in pages:
                until(page, "!document.querySelector('#strip').textContent.includes('…')")
                page.wait_for_selector("#keys button")
                page.click("#look")
                page.wait_for_selector("#findings > *")
        with each_look(opening, server, "learn", "used-learn") as pages:
            for page in pages:
                page.wait_for_selector("#confusion td button")
                page.locator("#examples summary").first.click()
                page.wait_for_selector("#examples .tile")
        camera.up = False
        server.until(lambda: server.now()["camera"]["state"] == "gone")
        with each_look(opening, server, "", "gone-watch") as pages:
            for page in pages:
                page.wait_for_selector("#banner:not([hidden])")


def test_the_dialogs_of_a_home_in_use(opening: Open, garden: Path) -> None:
    with serving(garden) as server:
        for state, act in {
            "rename": lambda row: row.locator("text=Rename").click(),
            "forget-label": lambda row: row.locator("text=Forget the label").click(),
            "move": lambda row: (row.locator(".tile").nth(0).click(), row.locator("text=Move to …").click()),
        }.items():
            with each_look(opening, server, "learn", f"dialog-{state}") as pages:
                for page in pages:
                    row = page.locator(".label-row").first
                    row.locator("summary").click()
                    row.locator(".tile").first.wait_for()
                    act(row)
                    page.wait_for_selector("dialog[open]")
        with each_look(opening, server, "learn", "dialog-cell") as pages:
            for page in pages:
                page.locator("#confusion td button.wrong, #confusion td button.right").first.click()
                page.wait_for_selector("dialog[open]")


def test_a_home_that_was_taught_nothing_and_has_no_camera(opening: Open, tmp_path: Path, surfaces: Path) -> None:
    Learner.init(tmp_path / "empty", surfaces / "surfaces.edge").close()
    with serving(tmp_path / "empty") as server:
        for name, there in {
            "watch": "#empty >> text=There is no camera",
            "teach": "#how >> text=There is no camera",
            "review": "#none",
            "learn": "#history li",
        }.items():
            with each_look(opening, server, "" if name == "watch" else name, f"empty-{name}") as pages:
                for page in pages:
                    page.wait_for_selector(there)
        with each_look(opening, server, "learn", "silent-learn") as pages:
            for page in pages:
                page.wait_for_selector("#history li")
            server.process.kill()
            for page in pages:
                page.wait_for_selector("text=The device does not answer")


def test_the_login_page(opening: Open, garden: Path) -> None:
    put(garden, PASSWORD)
    with serving(garden) as server, each_look(opening, server, "", "login") as pages:
        for page in pages:
            page.wait_for_url("**/login")
    with serving(garden) as server, each_look(opening, server, "", "login-refused") as pages:
        for page in pages:
            page.fill("#password", "wrong horse")
            page.keyboard.press("Enter")
            page.wait_for_selector("#problem:not([hidden])")
    with serving(garden) as server, each_look(opening, server, "", "login-checking") as pages:
        for page in pages:
            page.route("**/login", lambda route: None)  # the answer is still to come
            page.fill("#password", PASSWORD)
            page.keyboard.press("Enter")
            page.wait_for_selector("#enter:disabled")


def test_photos_with_a_flaw_and_one_that_is_no_picture(
    opening: Open, garden: Path, tmp_path: Path, photos: dict[str, list[Path]]
) -> None:
    there = flowers(photos)
    label, files = next(iter(there.items()))
    Image.new("RGB", (320, 240), (3, 3, 3)).save(tmp_path / "dark.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    with serving(garden) as server, each_look(opening, server, "teach", "photos") as pages:
        for number, page in enumerate(pages):
            page.wait_for_selector(f"#photo-label option[value={label}]", state="attached")
            page.select_option("#photo-label", label)
            page.set_input_files(
                "#file", [files[22 + number], files[0], tmp_path / "dark.jpg", tmp_path / "broken.jpg"]
            )
            page.wait_for_selector("text=Teach it anyway")
            page.wait_for_selector("#files .bad")
            until(page, "!document.querySelector('#files progress')")


LONG = [
    "monocrystalline solar panel",
    "a cup with a broken handle, and a saucer that does not belong to it",
    "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz",
    "front_door_half_open_at_night",
]
BROKEN = """() => {
    // words on two lines that would fit on one, and what leaves its card
    const found = [], texts = "#labels .what, #keys .text, #guess, #findings p, #findings button, #examples, #files";
    for (const text of document.querySelectorAll(texts)) {
        const room = 0.7 * text.closest(".finding > div, .card").clientWidth, range = document.createRange();
        const nodes = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
        for (let node = nodes.nextNode(); node; node = nodes.nextNode()) {
            for (const word of node.data.matchAll(/[^ ]+/g)) {
                range.setStart(node, word.index);
                range.setEnd(node, word.index + word[0].length);
                const parts = [...range.getClientRects()], lines = new Set(parts.map((part) => Math.round(part.top)));
                const wide = parts.reduce((sum, part) => sum + part.width, 0);
                if (lines.size > 1 && wide < room) found.push(`broken: ${word[0]}`);
            }
        }
    }
    for (const one of document.querySelectorAll(".card :is(p, button, select, span):not(.scroll *)")) {
        const box = one.getBoundingClientRect(), card = one.closest(".card").getBoundingClientRect();
        if (box.width && (box.left < card.left || box.right > card.right)) found.push(`outside: ${one.textContent}`);
    }
    return found;
}"""


@pytest.fixture
def wordy(tmp_path: Path, surfaces: Path, photos: dict[str, list[Path]]) -> Path:
    """A home whose labels have long names, one of them taught with a wrong picture, with frames to review."""
    with Learner.init(tmp_path / "wordy", surfaces / "surfaces.edge", keep_crops=True) as learner:
        for old, new in zip(("brick", "grass", "gravel"), LONG, strict=False):
            learner.rename(old, new)
        learner.teach(LONG[3], photos["coins"][:6])
        learner.teach(LONG[2], [photos["grass"][0]])
        learner.teach("cup", photos["coins"][6:8])
        learner.retrain()
    folder = tmp_path / "wordy" / "uncertain"
    folder.mkdir()
    for minute, label in enumerate(("coins", "gravel", "grass")):
        shutil.copy(photos[label][20 % len(photos[label])], folder / f"uncertain-20261124T10{minute:02}00.000000.jpg")
    return tmp_path / "wordy"


def test_labels_with_long_names(opening: Open, wordy: Path, photos: dict[str, list[Path]]) -> None:
    image = Image.open(photos["coins"][9]).convert("RGB").resize((680, 480))
    shift = [image.crop((left, 0, left + 640, 480)) for left in range(0, 40, 4)]
    states = {"review": "#findings .finding", "teach": "#files .good", "learn": "#confusion td button"}
    with filming(lambda number: shift[number % 10], fps=10) as camera, serving(wordy, camera.url()) as server:
        for path, there in states.items():
            with each_look(opening, server, path, f"long-{path}") as pages:
                for number, page in enumerate(pages):
                    if path == "review":
                        until(page, "/Perhaps|Unlike/.test(document.querySelector('#guess').textContent)")
                        page.click("#look")
                    if path == "teach":
                        page.wait_for_selector("#labels button:not([disabled])")
                        page.select_option("#photo-label", LONG[2])
                        page.set_input_files("#file", photos["gravel"][30 + number])
                    page.wait_for_selector(there)
                    assert page.evaluate(BROKEN) == [], path
