"""Every page at every size in both colour schemes: accessible, within the screen, from this device alone."""

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import SHOTS, SIZES, until

PAGES = {"watch": "", "teach": "teach", "review": "review", "learn": "learn"}


def settle(page: Any, name: str) -> None:
    """Wait until a page shows what it has, and open what can be opened."""
    if name in ("watch", "teach"):
        page.wait_for_selector("#picture:not([hidden])")
    if name == "watch":
        until(page, "document.querySelectorAll('#bars li').length > 1")
    if name == "teach":
        page.wait_for_selector("#labels button")
    if name == "review":
        until(
            page, "!document.querySelector('#strip').textContent.includes('…') && document.querySelector('#strip li')"
        )
        page.click("#look")
        page.wait_for_selector("#findings > *")
    if name == "learn":
        page.wait_for_selector("#confusion td button")
        page.locator("#examples summary").first.click()
        page.wait_for_selector("#examples .tile")
        page.wait_for_selector("#history li")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_page_is_accessible_and_fits(opened: Callable[..., Any], size: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for name, path in PAGES.items():
        page = opened(path, size, scheme)
        settle(page, name)
        found = axe.run(page)
        assert found.violations_count == 0, found.generate_report()
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name} is {wide} pixels too wide"
        if SHOTS:
            page.screenshot(path=f"{SHOTS}/{name}-{size}-{scheme}.png")
        page.close()


def test_it_fits_on_the_smallest_phone(opened: Callable[..., Any]) -> None:
    for name, path in PAGES.items():
        page = opened(path, "phone")
        page.set_viewport_size({"width": 360, "height": 640})
        settle(page, name)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
        page.close()


def test_the_dialogs_are_accessible(opened: Callable[..., Any]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened("")
    settle(page, "watch")
    page.click("#why")
    page.wait_for_selector("dialog .tile")
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.click("#changes .tile >> nth=0")
    page.wait_for_selector("dialog img")


def test_live_picture_and_labels_are_seen_together_on_a_phone(opened: Callable[..., Any]) -> None:
    page = opened("teach", "phone")
    settle(page, "teach")
    picture, button = (page.locator(what).bounding_box() for what in ("#picture", "#labels button >> nth=0"))
    assert picture["y"] >= 0
    assert button["y"] + button["height"] < SIZES["phone"]["height"] - 64, "above the bar with the pages"
