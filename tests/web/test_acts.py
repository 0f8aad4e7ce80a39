"""Every act on the page by mouse, touch and keyboard, and what came of it in the home."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edge.cli import wording
from edge.learner import Learner
from edge.serve.password import put
from tests.edge.cameras import Camera
from tests.edge.serve.server import PASSWORD, Server, serving

from .conftest import SHOTS, learned, until

Open = Callable[..., Any]
HTML = '<img src=x onerror=alert(1)> &amp; "cup"'
FOUR = '() => Number(document.querySelector("#labels button.on .how")?.textContent.split(" ")[0]) >= 3'


def hold(page: Any, button: Any, how: str) -> None:
    """Hold a label until three pictures are taken."""
    if how in (" ", "Enter"):
        button.focus()
        page.keyboard.down(how)
        until(page, FOUR)
        page.keyboard.up(how)
        return
    if how == "touch":
        button.scroll_into_view_if_needed()
        box = button.bounding_box()
        driver = page.context.new_cdp_session(page)
        point = {"x": box["x"] + 20, "y": box["y"] + 20}
        driver.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
        until(page, FOUR)
        driver.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        return
    button.hover()
    page.mouse.down()
    until(page, FOUR)
    page.mouse.up()


def still(server: Server, camera: Camera) -> int:
    """Stop the camera, whose unsure frames would be kept for review as well; returns how many wait."""
    camera.up = False
    server.until(lambda: server.now()["camera"]["state"] == "gone")
    return int(server.until(lambda: server.now()["home"]["waiting"]))


@pytest.mark.parametrize("how", ["mouse", "touch", " ", "Enter"])
def test_a_label_that_is_held_is_recorded_and_taken_back(opened: Open, server: Server, how: str) -> None:
    before = learned(server.home)
    page = opened("teach", "phone" if how == "touch" else "desktop")
    page.wait_for_selector("#labels button:not([disabled])")
    hold(page, page.locator("#labels button", has_text="coins"), how)
    page.wait_for_selector("#result:not([hidden])")
    new = learned(server.home)[len(before) :]
    assert len(new) >= 3
    assert {label for label, _ in new} == {"coins"}
    assert len({session for _, session in new}) == 1
    assert f"{len(new)} new pictures of “coins”" in page.inner_text("#result")
    page.click("#result >> text=Undo")
    page.wait_for_selector("#result >> text=taken back")
    assert learned(server.home) == before


def test_the_first_label_takes_at_most_five_taps(opened: Open, server: Server) -> None:
    page, taps, start = opened("", "phone"), 0, time.monotonic()
    page.locator("nav >> text=Teach").tap()
    page.wait_for_selector("#labels button:not([disabled])")
    page.locator("#new").tap()
    page.fill("#new-name", "money")
    page.locator("#new-form >> text=Add").tap()
    taps += 3
    hold(page, page.locator("#labels button", has_text="money"), "touch")
    page.locator("#retrain").tap()
    taps += 2
    page.wait_for_selector("#learned:not([hidden])")
    assert taps <= 5
    if SHOTS:
        Path(SHOTS, "first-label.txt").write_text(f"{taps} taps, {time.monotonic() - start:.1f} s\n")
    assert "money" in [label for label, _ in learned(server.home)]
    assert "money" in [one["label"] for one in server.now()["home"]["labels"]]


def test_a_label_full_of_html_is_only_text(opened: Open, server: Server) -> None:
    label = HTML.replace("/", "")
    page = opened("teach")
    page.on("dialog", lambda dialog: pytest.fail("a label ran as a program"))
    page.wait_for_selector("#labels button:not([disabled])")
    page.click("#new")
    page.fill("#new-name", label)
    page.keyboard.press("Enter")
    hold(page, page.locator("#labels button").last, "mouse")
    page.wait_for_selector("#result:not([hidden])")
    assert label in page.inner_text("#result")
    for path in ("", "review", "learn"):
        other = opened(path)
        other.on("dialog", lambda dialog: pytest.fail("a label ran as a program"))
        other.wait_for_timeout(1500)
        assert other.locator("img[src=x]").count() == 0


def test_photos_are_taught_many_at_once_and_asked_about(
    opened: Open, server: Server, tmp_path: Path, photos: dict[str, list[Path]]
) -> None:
    before = len(learned(server.home))
    Image.new("RGB", (320, 240), (3, 3, 3)).save(tmp_path / "dark.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    page = opened("teach", "phone")
    page.wait_for_selector("#photo-label option[value=coins]", state="attached")
    page.click("#choose")
    assert "First choose" in page.inner_text("#toasts")
    page.select_option("#photo-label", "coins")
    files = [
        *photos["coins"][8:10],
        photos["grass"][3],
        photos["brick"][10],
        photos["coins"][0],
        tmp_path / "dark.jpg",
        tmp_path / "broken.jpg",
    ]
    page.set_input_files("#file", files)
    page.wait_for_selector("text=Teach it anyway")
    until(page, "document.querySelectorAll('#files .good').length == 4")
    page.wait_for_selector("#files .bad")
    assert "Already taught" in page.inner_text("#files")
    assert len(learned(server.home)) == before + 4
    page.click("text=Leave it out")
    page.wait_for_selector("text=left out")
    page.locator("#files .good >> text=Undo").first.click()
    page.wait_for_selector("text=taken back")
    assert len(learned(server.home)) == before + 3


def test_photos_are_dropped_on_the_page(opened: Open, server: Server, photos: dict[str, list[Path]]) -> None:
    page = opened("teach")
    page.wait_for_selector("#photo-label option[value=coins]", state="attached")
    page.select_option("#photo-label", "coins")
    import base64

    data = base64.b64encode(photos["coins"][10].read_bytes()).decode()
    page.evaluate(
        """data => {
            const bytes = Uint8Array.from(atob(data), one => one.charCodeAt(0)), moved = new DataTransfer();
            moved.items.add(new File([bytes], "dropped.jpg", {type: "image/jpeg"}));
            const drop = new DragEvent("drop", {dataTransfer: moved, bubbles: true, cancelable: true});
            document.querySelector("#drop").dispatchEvent(drop);
        }""",
        data,
    )
    page.wait_for_selector("#files .good")
    assert "dropped.jpg" in page.inner_text("#files")


def test_the_region_is_drawn_on_the_picture_and_written_as_numbers(opened: Open, server: Server) -> None:
    page = opened("teach")
    page.wait_for_selector("#picture:not([hidden])")
    page.click("#region summary")
    box = page.wait_for_selector("#drawing:not([hidden])").bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"], steps=5)
    page.mouse.up()
    assert abs(float(page.input_value("#left")) - 25) < 2
    assert abs(float(page.input_value("#height")) - 25) < 2
    page.fill("#width", "50")
    page.click("#region-save")
    region = server.until(lambda: server.now()["home"]["region"])
    assert abs(float(region.split(",")[2]) - 0.5) < 0.001
    page.click("#region-whole")
    server.until(lambda: server.now()["home"]["region"] is None)


def test_review_by_keys_taps_ranges_and_undo(opened: Open, server: Server, camera: Camera) -> None:
    every = still(server, camera)
    before = len(learned(server.home))
    page = opened("review")
    page.wait_for_selector("#keys button")
    until(page, "!document.querySelector('#strip').textContent.includes('…')")
    tiles = page.locator("#strip .tile")
    assert 3 <= tiles.count() < every, "those that are nearly the same are one"
    first = page.inner_text("#strip .count >> nth=0") if page.locator("#strip .count").count() else ""

    def waiting(count: int) -> None:
        until(page, "n => document.querySelector('#strip-title').textContent.startsWith(`${n} `)", count)

    assert first, "and how many they are is said"
    page.keyboard.press("1")
    page.wait_for_selector("#toasts >> text=named “")
    taught = len(learned(server.home)) - before
    waiting(every - taught)
    page.keyboard.press("u")
    waiting(every)
    assert len(learned(server.home)) == before
    page.keyboard.press("Delete")
    server.until(lambda: server.now()["home"]["waiting"] < every)
    page.click("#undo")
    waiting(every)
    page.click("#several")
    tiles.nth(0).click()
    tiles.nth(2).click(modifiers=["Shift"])
    assert page.locator("#strip .tile[aria-pressed=true]").count() == 3
    picked = int(page.inner_text("#one-title").split()[3])
    page.locator("#keys button", has_text="gravel").click()
    waiting(every - picked)
    new = learned(server.home)[before:]
    assert len(new) == picked
    assert {label for label, _ in new} == {"gravel"}
    assert len({session for _, session in new}) == 1
    page.click("#big")
    page.wait_for_selector("dialog img.whole")


def test_a_wrong_label_is_found_and_mended(opened: Open, server: Server) -> None:
    page = opened("review", "phone")
    page.click("#look")
    card = page.locator(".finding", has_text="Taught as “grass”")
    card.wait_for()
    card.locator("text=It is gravel").click()
    server.until(lambda: "grass" not in {label for label, _ in learned(server.home)})
    page.click("text=Learn from the changes now")
    page.wait_for_selector("#again .versus")


def test_examples_are_moved_renamed_merged_and_forgotten(opened: Open, server: Server) -> None:
    page = opened("learn")
    coins = page.locator(".label-row", has_text="coins")
    coins.locator("summary").click()
    coins.locator(".tile").nth(0).click()
    coins.locator("text=Move to …").click()
    page.fill("#choose-name", "money")
    page.keyboard.press("Enter")
    server.until(lambda: ("money", None) in learned(server.home))
    money = page.locator(".label-row", has_text="money")
    money.locator("summary").click()
    money.locator("text=Rename").click()
    page.fill("#rename", "coins")
    page.click("dialog button.main")
    page.click("text=Merge them")
    server.until(lambda: ("money", None) not in learned(server.home))
    count = len(learned(server.home))
    coins.locator(".tile").nth(0).click()
    coins.get_by_role("button", name="Forget", exact=True).click()
    page.click("dialog button.bad")
    server.until(lambda: len(learned(server.home)) == count - 1)


def test_the_examples_of_the_bundle_are_called_as_on_the_command_line(opened: Open, server: Server) -> None:
    with Learner(server.home) as learner:
        shown = wording.status(learner.status())
    columns = shown[shown.index("") + 1].split("  ")
    page = opened("learn")
    for label, counts in {
        "brick": {"taught here": 6, "from the bundle": 40},
        "gravel": {"from the bundle": 40},
    }.items():
        assert counts.keys() <= {column.strip() for column in columns}
        row = page.locator(".label-row", has_text=label)
        said = ", ".join(f"{count} {words}" for words, count in counts.items())
        assert row.locator("summary").inner_text().split("\n") == [label, said]
    page.locator(".label-row", has_text="gravel").locator("summary").click()
    page.wait_for_selector("text=These examples are from the bundle.")


def test_figures_open_their_pictures_and_generations_go_back(opened: Open, server: Server) -> None:
    page = opened("learn", "phone")
    page.wait_for_selector("#figure b")
    page.locator("#confusion td button.right").first.click()
    page.wait_for_selector("dialog .tile, dialog p")
    page.keyboard.press("Escape")
    page.locator("#history button", has_text="Go back to it").first.click()
    server.until(lambda: server.now()["home"]["generation"] == 2)
    page.wait_for_selector("#history li.serving >> text=Version 2")
    with page.expect_download() as taken:
        page.click("#backup")
    assert taken.value.suggested_filename.endswith(".backup")


def test_the_picture_goes_on_while_it_learns(opened: Open, server: Server) -> None:
    server.send(
        (server.home.parent / "home" / "uncertain" / "uncertain-20261124T100000.000000.jpg").read_bytes(), "gravel"
    )
    page = opened("teach")
    page.wait_for_selector("#learn-now:not([hidden])")
    page.wait_for_selector("#picture:not([hidden])")
    first = page.get_attribute("#picture", "src")
    page.click("#retrain")
    until(page, "first => document.querySelector('#picture').src != first", first)
    page.wait_for_selector("#learned:not([hidden])")
    server.until(lambda: server.now()["answer"]["generation"] == server.now()["home"]["generation"])


def test_two_accuracies_of_different_pictures_are_not_to_be_compared(opened: Open, server: Server) -> None:
    server.post(
        "rollback", {"generation": 2, "serving": 3}
    )  # measured on all examples, the next one on those taught here
    page = opened("teach")
    page.click("#retrain")
    page.wait_for_selector("#learned:not([hidden])")
    said = page.inner_text("#learned")
    assert "do not compare them. Of the " in said
    assert said.count("of those taught here") == 1


def test_two_people_see_each_other_and_the_slower_one_is_told(opened: Open, server: Server, camera: Camera) -> None:
    every = still(server, camera)
    one, other = opened("review"), opened("review", "phone")
    for page in (one, other):
        page.wait_for_selector("#keys button")
    other.route("**/now*", lambda route: route.abort())  # it hears of nothing any more
    other.route("**/waiting", lambda route: route.abort())
    one.keyboard.press("Delete")
    one.wait_for_selector("text=put away")
    other.locator("#useless").tap()
    other.wait_for_selector("#toasts >> text=somebody else was faster")
    other.unroute("**/now*")
    other.unroute("**/waiting")
    server.until(lambda: server.now()["home"]["waiting"] < every)


def test_a_camera_that_is_gone_is_said_plainly(opened: Open, server: Server, camera: Camera) -> None:
    page = opened("")
    page.wait_for_selector("#dot:not([hidden])")
    camera.up = False
    page.wait_for_selector("#banner:not([hidden])")
    camera.up = True
    page.wait_for_selector("#dot:not([hidden])")


def test_a_server_that_is_gone_is_said_and_waited_for(opened: Open, server: Server) -> None:
    page = opened("")
    page.wait_for_selector("#dot:not([hidden])")
    server.process.kill()
    page.wait_for_selector("text=The device does not answer")


def test_who_has_no_password_sees_nothing(opened: Open, home: Path, camera: Camera) -> None:
    put(home, PASSWORD)
    with serving(home, camera.url()) as locked:
        page = opened("learn", "phone", on=locked)
        page.wait_for_url("**/login")
        page.fill("#password", "wrong horse")
        page.click("text=Log in >> nth=-1")
        page.wait_for_selector("text=That is not the password.")
        page.fill("#password", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_selector("#picture:not([hidden])")
        page.goto(locked.url + "learn")
        page.click("#logout")
        page.wait_for_url("**/login")


def test_a_password_is_seen_to_be_checked_and_stays_to_be_sent_again(opened: Open, home: Path, camera: Camera) -> None:
    put(home, PASSWORD)
    with serving(home, camera.url()) as locked:
        page, sent = opened("", on=locked), list[Any]()
        page.wait_for_url("**/login")
        page.route("**/login", lambda route: sent.append(route))

        def send(password: str | None = None) -> Any:
            """Press Enter twice; only one request goes out, and its answer is still to come."""
            if password is not None:
                page.fill("#password", password)
            page.keyboard.press("Enter")
            page.wait_for_selector("#enter:disabled")
            assert page.inner_text("#enter") == "Checking …"
            page.keyboard.press("Enter")
            page.keyboard.type("typed too early")
            page.wait_for_timeout(200)
            (request,) = sent
            sent.clear()
            return request

        def told(text: str, kept: str, selected: int) -> None:
            """The answer is on the page, and the password is where it was."""
            page.wait_for_selector(f"#problem >> text={text}")
            assert page.inner_text("#enter:enabled") == "Log in"
            assert page.input_value("#password") == kept
            field = "document.activeElement.selectionEnd - document.activeElement.selectionStart"
            assert page.evaluate(field) == selected

        send("wrong horse").continue_()
        told("That is not the password.", "wrong horse", len("wrong horse"))
        send(PASSWORD).abort()
        told("The device does not answer.", PASSWORD, 0)
        send().fulfill(status=429, json={"error": "Too many wrong passwords; try again in 50 seconds."})
        told("try again in 50 seconds", PASSWORD, 0)
        send().continue_()
        page.wait_for_selector("#picture:not([hidden])")


def test_a_folder_is_watched_and_its_picture_taught_by_one_tap(
    opened: Open, home: Path, tmp_path: Path, photos: dict[str, list[Path]]
) -> None:
    (tmp_path / "arriving").mkdir()
    with serving(home, tmp_path / "arriving", "--every", 0.1) as server:
        page = opened("teach", "phone", on=server)
        before = len(learned(home))
        (tmp_path / "arriving" / "one.jpg").write_bytes(photos["coins"][10].read_bytes())
        page.wait_for_selector("#picture:not([hidden])")
        page.wait_for_selector("#labels button:not([disabled])")
        page.locator("#labels button", has_text="coins").tap()
        page.wait_for_selector("#result >> text=1 new picture of “coins”")
        with Learner(home) as learner:
            assert len(list(learner.list_examples())) == before + 1
