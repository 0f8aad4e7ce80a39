"""The Python interface: pictures of every kind, one or many, from any thread, and errors that say what to do."""

import asyncio
import inspect
import io
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import edge
from edge import Answer, EdgeError, Frame, HomeError, ImageError, LabelError, Learner, NotEnough, Skipped
from edge.network.backbone import RUNTIMES
from edge.testing import FakeNetwork, new_learner, surface, write_bundle, write_photos
from tests.refused import refused

MODES = ["RGB", "L", "RGBA", "LA", "P", "1", "I;16", "CMYK"]


@pytest.fixture
def learner(tmp_path: Path) -> Iterator[Learner]:
    with new_learner(tmp_path / "home") as opened:
        yield opened


def drawn(mode: str) -> Image.Image:
    """A picture of that mode, not square and of odd sides."""
    image = surface("brick", seed=3, side=61).crop((0, 0, 61, 47))
    if mode in ("RGBA", "LA"):
        image.putalpha(surface("grass", seed=1, side=61).convert("L").crop((0, 0, 61, 47)))
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.convert(mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_picture_in_memory_is_seen_as_its_file_is(learner: Learner, tmp_path: Path, mode: str) -> None:
    image = drawn(mode)
    path = tmp_path / f"picture{'.tif' if mode == 'CMYK' else '.png'}"
    image.save(path)
    with Image.open(path) as opened:
        opened.load()
        answers = learner.classify([path, str(path), image, opened])
        if mode in ("RGB", "L"):
            answers.append(learner.classify(np.asarray(image)))
    assert {answer.top for answer in answers} == {answers[0].top}


def test_an_image_is_turned_upright_as_its_file_is(learner: Learner, tmp_path: Path) -> None:
    image = drawn("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as opened:
        turned = learner.classify([tmp_path / "turned.png", opened, opened.convert("RGB")])
    assert {answer.top for answer in turned} == {turned[0].top}
    assert turned[0].top != learner.classify(image).top


def test_a_picture_in_memory_is_left_as_it_was(learner: Learner) -> None:
    array = np.asarray(surface("grass", seed=5)).copy()
    array.flags.writeable = False
    image = surface("grass", seed=5)
    learner.classify([array, image, array[:, ::-1], np.asfortranarray(array)])
    assert (np.asarray(image) == array).all()


def test_one_picture_gives_one_answer_and_several_give_a_list(learner: Learner) -> None:
    one = surface("gravel", seed=1)
    assert isinstance(learner.classify(one), Answer)
    assert learner.classify(one).label == "gravel"
    for several in ([one, one], (one, one), (one for _ in range(2)), np.stack([np.asarray(one)] * 2)[:]):
        if isinstance(several, np.ndarray):
            several = list(several)
        answers = learner.classify(several)
        assert isinstance(answers, list)
        assert [answer.label for answer in answers] == ["gravel", "gravel"]
    assert learner.classify([]) == []
    assert learner.teach("gravel", []).examples == ()


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        (np.zeros((4, 5, 3)), ["float64", "uint8"]),
        (np.zeros((4, 5, 4), np.uint8), ["(4, 5, 4)", "[:, :, :3]"]),
        (np.zeros((2, 4, 5, 3), np.uint8), ["(2, 4, 5, 3)", "list"]),
        (np.zeros((3, 4, 5), np.uint8), ["(3, 4, 5)", "height"]),
        (np.zeros(7, np.uint8), ["(7,)", "height"]),
        (np.zeros((0, 5, 3), np.uint8), ["(0, 5, 3)"]),
        (np.zeros((1, 70_000, 3), np.uint8), ["70000"]),
        (Image.new("F", (8, 8)), ["floating"]),
        (None, ["NoneType"]),
        (7, ["int"]),
        (b"bytes", ["bytes"]),
        ("nowhere.jpg", ["nowhere.jpg"]),
        ("~/nowhere.jpg", ["nowhere.jpg"]),
        (Path(__file__), ["test_python.py"]),
        (Path(__file__).parent, ["folder"]),
        (Frame("garage", b"no picture", 0.0), ["garage"]),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_is_no_picture_raises_one_line_that_says_what_to_do(
    learner: Learner, given: Any, facts: list[str]
) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: learner.classify(given),
        lambda: learner.classify([surface("brick", seed=1), given]),
    ]
    if "folder" not in facts:  # which teach takes
        attempts.append(lambda: learner.teach("brick", [given]))
    for attempt in attempts:
        with pytest.raises(ImageError) as raised:
            attempt()
        told = str(raised.value)
        assert "\n" not in told
        for fact in facts:
            assert fact in told


def test_what_cannot_be_read_is_passed_over_where_answers_are_asked_for_one_by_one(learner: Learner) -> None:
    given = [surface("brick", seed=1), "nowhere.jpg", np.zeros((2, 2, 2), np.uint8), surface("grass", seed=1)]
    answers = list(learner.classify_each(given))
    assert [isinstance(answer, Skipped) for answer in answers] == [False, True, True, False]


def test_an_opened_file_that_is_cut_short_is_passed_over_as_the_file_is(learner: Learner, tmp_path: Path) -> None:
    cut = tmp_path / "cut.png"
    surface("brick", seed=1).save(cut)
    cut.write_bytes(cut.read_bytes()[:1500])
    with Image.open(cut) as opened:
        assert [type(answer) for answer in learner.classify_each([cut, opened])] == [Skipped, Skipped]


def test_a_picture_that_was_named_and_cannot_be_taught_raises_and_the_others_are_kept(
    learner: Learner, tmp_path: Path
) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ImageError, match=r"torn\.png"):
        learner.teach("coins", [surface("coins", seed=1), tmp_path / "torn.png", surface("coins", seed=2)])
    assert len(list(learner.examples("coins"))) == 2
    folder = write_photos(tmp_path / "found", {"coins": 2}, first=5) / "coins"
    (tmp_path / "torn.png").rename(folder / "torn.png")
    taught = learner.teach("coins", folder)
    assert len(taught.examples) == 2
    assert [Path(one.image).name for one in taught.unreadable] == ["torn.png"]


def test_pictures_in_memory_are_known_again(learner: Learner) -> None:
    pixels = np.asarray(surface("coins", seed=1))
    assert len(learner.teach("coins", pixels).examples) == 1
    assert learner.teach("coins", [pixels.copy(), Image.fromarray(pixels)]).examples == ()


def test_paths_may_be_text_and_begin_at_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learner: Learner
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    photos = write_photos(tmp_path / "photos", first=50)
    write_bundle(tmp_path / "garage.edge", photos)
    with Learner.init("~/garage", "~/garage.edge", network=FakeNetwork()) as made:
        assert made.home == tmp_path / "garage"
    with Learner("~/garage", network=FakeNetwork()) as opened:
        file = "~/photos/brick/brick_050.png"
        assert opened.classify(file).label == "brick"
        assert opened.evaluate("~/photos").examples == 30
        taught = opened.teach("brick", "~/photos/brick")
        assert len(taught.examples) == 10
        assert opened.teach_folders("~/photos").files.seen == 30
        assert opened.relabel(file, "brick")[0].id == taught.examples[0]
        assert opened.forget(file).examples == 1
        assert opened.forget(taught.examples[1]).examples == 1
        assert opened.forget(taught.examples[2:4]).examples == 2
        assert opened.audit("~/photos/grass", html="~/audit.html").page == str(tmp_path / "audit.html")
        assert Path(opened.export("~/garage.onnx", labels="~/labels.txt").file) == tmp_path / "garage.onnx"
        assert (tmp_path / "labels.txt").exists()


def test_a_network_that_is_not_the_bundles_is_refused(tmp_path: Path) -> None:
    class Other(FakeNetwork):
        def embed(self, images: Any) -> Any:
            return super().embed(255 - images)

    new_learner(tmp_path / "home").close()
    with Learner(tmp_path / "home", network=Other()) as opened, pytest.raises(edge.ParityError):
        opened.classify(surface("brick", seed=1))
    bundle = write_bundle(tmp_path / "tiny.edge", write_photos(tmp_path / "photos"))
    with pytest.raises(edge.ParityError):
        Learner.init(tmp_path / "new", bundle, network=Other())


# --- threads ----------------------------------------------------------------------------------------------------------


def test_many_threads_may_use_one_learner(learner: Learner) -> None:
    """Each kind of call at once from eight threads; every answer is the one that a single thread gets."""
    pictures = [surface(label, seed) for label in ("brick", "grass", "gravel") for seed in range(100, 110)]
    expected = [answer.top for answer in learner.classify(pictures)]
    before = learner.status().generation

    def work(number: int) -> list[Any]:
        if number % 4 == 0:
            return [learner.teach("coins", surface("coins", seed=number * 100 + n)).examples for n in range(5)]
        if number % 4 == 1:
            return [learner.status().labels, learner.history(), learner.retrain(force=True).labels]
        return [learner.classify(pictures) for _ in range(3)]

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(work, range(16)))
    taught = [example for number in range(0, 16, 4) for examples in done[number] for example in examples]
    assert len(taught) == len(set(taught)) == 20
    assert learner.status().generation > before
    for number in (2, 3, 6, 7, 10, 11, 14, 15):
        for answers in done[number]:
            for answer, top in zip(answers, expected, strict=True):
                if answer.generation == before:
                    assert answer.top == top
    learner.retrain()
    assert learner.classify(surface("coins", seed=9_999)).label == "coins"


@pytest.mark.parametrize("format", sorted({runtime.format for runtime in RUNTIMES if runtime.installed}))
def test_threads_that_go_picture_by_picture_do_not_mix_up_what_a_runtime_sees(
    tmp_path: Path, tiny_bundle: Path, format: str
) -> None:
    """A TFLite interpreter holds one picture at a time; two threads between its steps would swap their answers."""
    with Learner.init(tmp_path / "home", tiny_bundle, format=format) as learner:
        kinds = {label: [surface(label, seed) for seed in range(100, 140)] for label in ("brick", "grass", "gravel")}
        expected = {label: [answer.top for answer in learner.classify(pictures)] for label, pictures in kinds.items()}

        def one_by_one(label: str) -> list[Any]:
            answers = [next(learner.classify_each(picture)) for picture in kinds[label]]
            return [answer.top for answer in answers if isinstance(answer, Answer)]

        with ThreadPoolExecutor(6) as pool:
            for label, tops in zip([*kinds] * 2, pool.map(one_by_one, [*kinds] * 2), strict=True):
                assert tops == expected[label]


def test_a_learner_made_in_one_thread_works_and_closes_in_another(tmp_path: Path) -> None:
    opened: list[Learner] = []
    thread = threading.Thread(target=lambda: opened.append(new_learner(tmp_path / "home")))
    thread.start()
    thread.join()
    assert opened[0].classify(surface("brick", seed=1)).top[0].label == "brick"

    async def ask() -> str:
        return (await asyncio.to_thread(opened[0].classify, surface("grass", seed=1))).top[0].label

    assert asyncio.run(ask()) == "grass"
    closing = threading.Thread(target=opened[0].close)
    closing.start()
    closing.join()
    closed = opened[0]
    for verb in (closed.status, closed.retrain, lambda: closed.classify(surface("brick", seed=1)),
                 lambda: closed.info, lambda: list(closed.list_examples())):  # fmt: skip
        with refused("home-closed", HomeError):
            verb()
    closed.close()


def test_a_verb_that_fails_in_one_thread_leaves_the_next_one_its_turn(learner: Learner) -> None:
    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            with pytest.raises(LabelError):
                pool.submit(learner.forget, session="none").result()
            with pytest.raises(LabelError):
                pool.submit(learner.teach, "a/b", surface("brick", seed=1)).result()
            assert pool.submit(learner.status).result().labels


def test_every_method_takes_its_turn() -> None:
    own = {"classify", "classify_each", "close"}  # hold the lock themselves
    without = {"embed", "list_examples", "now", "wanted"}  # are for those who hold it
    for name, method in inspect.getmembers(Learner, inspect.isfunction):
        if not name.startswith("_"):
            assert hasattr(method, "__wrapped__") or name in own | without, name


# --- names ------------------------------------------------------------------------------------------------------------


def test_every_public_name_is_there_and_none_is_loaded_before_it_is_used() -> None:
    script = "import sys, edge; print(*[m for m in sys.modules if m.split('.')[0] in ('edge', 'numpy', 'PIL')])"
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert child.stdout.split() == ["edge"]
    for name in edge.__all__:
        assert getattr(edge, name) is not None
        assert name in dir(edge)
    with pytest.raises(AttributeError, match="Lerner"):
        edge.Lerner  # type: ignore[attr-defined]  # noqa: B018
    errors = {name for name in edge.__all__ if isinstance(getattr(edge, name), type) and name.endswith("Error")}
    assert {"EdgeError", "ImageError", "HomeError"} <= errors
    assert all(issubclass(getattr(edge, name), EdgeError) for name in errors | {"NotEnough", "RuntimeMissing"})
    assert issubclass(NotEnough, ValueError)


def test_a_frame_can_be_opened_by_pillow(learner: Learner) -> None:
    from edge.testing import FakeCamera

    frame = next(
        f for f in FakeCamera([surface("brick", seed=1)]).frames(1.0, threading.Event()) if isinstance(f, Frame)
    )
    with Image.open(io.BytesIO(frame.data)) as image:
        assert (np.asarray(image) == np.asarray(surface("brick", seed=1))).all()
