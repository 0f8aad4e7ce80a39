"""Watching: each picture is answered once whatever happens, and what is settled on is told to whoever wants to know."""

import io
import itertools
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from PIL import Image

from edge.answers import Answer, Seen, Skipped
from edge.camera import devices as films
from edge.camera.folder import Folder, Journal, Notice
from edge.errors import LabelError, SourceError
from edge.learner import Learner
from edge.picture.find import saved
from edge.picture.frame import Frame
from edge.picture.region import Region
from edge.picture.same import Alike
from edge.watch.hooks import Hook, Hooks
from edge.watch.loop import Sight, watch
from edge.watch.smooth import Rule, Smoother
from edge.watch.unsure import Uncertain
from tests.refused import refused

from .cameras import filming, jpeg, write_film
from .conftest import PATIENCE, picture, write_bundle, write_pictures


@pytest.fixture
def home(tmp_path: Path, tiny_bundle: Path) -> Path:
    Learner.init(tmp_path / "home", tiny_bundle).store.close()
    (tmp_path / "in").mkdir()
    return tmp_path / "home"


@pytest.fixture
def learner(home: Path) -> Iterator[Learner]:
    with Learner(home) as opened:
        yield opened


def start(
    home: Path, *args: object, out: IO[bytes] | None = None, cwd: Path | None = None, **environment: str
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edge", "--home", str(home), *map(str, args)]
    return subprocess.Popen(
        command,
        stdout=out or subprocess.PIPE,
        stderr=subprocess.PIPE if out is None else subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        cwd=cwd,
    )


def wait_until_watching(process: subprocess.Popen[bytes]) -> None:
    """Read stderr up to the line that says so."""
    assert process.stderr is not None
    said = [process.stderr.readline()]
    while not said[-1].startswith(b"watching"):
        assert said[-1], said
        said.append(process.stderr.readline())


def wait_for(done: Callable[[], bool], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.01)


@pytest.mark.kills
def test_no_picture_is_missed_or_answered_twice_across_a_retrain_and_kills(home: Path, tmp_path: Path) -> None:
    total, folder, out = 500, tmp_path / "in", tmp_path / "out.jsonl"
    buffers = []
    for number in range(total):
        buffer = io.BytesIO()
        picture("grass", number).save(buffer, "PNG")
        buffers.append(buffer.getvalue())

    def arrive() -> None:
        for number, data in enumerate(buffers):
            path = folder / f"{number:03}.png"
            if number % 2:  # as a camera writes it, and as a careful program moves it in
                path.write_bytes(data)
            else:
                (folder / ".part").write_bytes(data)
                (folder / ".part").rename(path)
            time.sleep(0.01)

    def answered() -> list[Any]:
        lines = [line for file in home.glob("watched-*.jsonl") for line in file.read_bytes().splitlines(keepends=True)]
        return [entry for entry in map(json.loads, (s for s in lines if s.endswith(b"\n"))) if "image" in entry]

    writer = threading.Thread(target=arrive)
    with out.open("ab") as stdout:
        process = start(home, "watch", folder, "--json", "--every", 0.02, out=stdout)
        writer.start()
        for kills in range(1, 4):
            wait_for(lambda least=kills * 100: len(answered()) >= least)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process = start(home, "watch", folder, "--json", "--every", 0.02, out=stdout)
            if kills == 2:
                with Learner(home) as other:
                    other.teach("coins", [write_pictures(tmp_path / "taught", {"coins": 5}, first=900)])
                    other.retrain()
        writer.join()
        wait_for(lambda: len(answered()) >= total)
        process.terminate()
        assert process.wait() == 0
    everything = {str(folder / f"{number:03}.png") for number in range(total)}
    kept = [entry["image"] for entry in answered()]
    assert len(kept) == total, "none twice"
    assert set(kept) == everything, "none missed"
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert {answer["image"] for answer in told} == everything, "everybody who reads along hears of each"
    # at each kill, whether the line in work was printed cannot be known: it is printed again, unchanged
    again = [answer for at, answer in enumerate(told) if answer in told[:at]]
    assert len(told) - len(again) == total
    assert len(again) <= 3
    generations = [answer["generation"] for answer in told]
    assert set(generations) == {1, 2}
    assert generations == sorted(generations)


@pytest.mark.kills
def test_however_many_signals_come_and_whenever_stopping_never_hangs() -> None:
    program = """
import signal, sys
from edge.watch.stop import Stop

inside = signals = 0

def end(*_):
    global inside
    inside += 1
    stop.set()
    inside -= 1

def at_each_line(*_):
    global signals
    if not inside:
        signals += 1
        signal.raise_signal(signal.SIGTERM)
    return at_each_line

signal.signal(signal.SIGTERM, end)
for act in (lambda: stop.set(), lambda: stop.wait(60), lambda: stop.is_set()):
    stop = Stop()
    sys.settrace(at_each_line)
    act()
    sys.settrace(None)
    assert stop.is_set()
assert signals > 6
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE)


def test_sigterm_ends_in_peace_and_is_ready_and_alive_before(home: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE)
        process = start(home, "watch", tmp_path / "in", NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="200000")
        said = [systemd.recv(100) for _ in range(4)]
        assert said == [b"READY=1", *[b"WATCHDOG=1"] * 3]
        for _ in range(3):
            process.terminate()  # some send it more than once
        _, err = process.communicate(timeout=PATIENCE)
        said = []
        while not said or said[-1] != b"STOPPING=1":
            said.append(systemd.recv(100))
    assert process.returncode == 0
    assert b"stopped; 0 frames answered" in err
    assert b"Traceback" not in err


def name_of(home: Path, data: bytes) -> str:
    """What a picture is called, "unknown" included."""
    with Learner(home) as learner:
        (answer,) = learner.classify([Frame("x", data, 0.0)])
    assert isinstance(answer, Answer)
    return answer.label or "unknown"


def test_a_camera_is_watched_through_its_death(home: Path) -> None:
    scenes = [picture("brick", 3), picture("grass", 3)]
    names = [name_of(home, jpeg(scene)) for scene in scenes]
    assert names[0] != names[1]
    with filming(lambda n: scenes[n >= 60]) as camera:
        process = start(home, "watch", camera.url(), "--json", "--every", 0.02)
        lines: list[Any] = []
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(json.loads(line))
            camera.up = len(lines) != 20
            if lines[-1]["settled"] == names[1]:
                break
            if not camera.up:
                time.sleep(0.2)
                camera.up = True
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert b" is gone: it ended; waiting for it" in err
    assert b" is back" in err
    assert {"image", "time", "label", "unknown", "probability", "top", "generation", "milliseconds"} <= lines[0].keys()
    assert [x["settled"] for x in lines if x["changed"]] == names
    assert re.search(r"127.0.0.1:\d+/stream 20\d\d-\d\d-\d\dT", lines[0]["image"])


def test_a_film_ends_by_itself(home: Path, tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.avi", ["brick"] * 5 + ["grass"] * 5)
    names = [name_of(home, shot.data) for shot in films.film(film, 0.1)]
    process = start(home, "watch", film, "--json", "--every", 0.1, "--smooth", "2/3")
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == 10
    assert [line["label"] or "unknown" for line in lines] == names
    settled = [lines[0]["settled"]]
    for before, line in itertools.pairwise(lines):
        settled.append(line["settled"])
        assert line["changed"] == (line["settled"] != before["settled"])
    assert settled[0] is None, "one answer is not two of three"
    for at, name in enumerate(settled[1:], 1):
        assert name == (names[at] if names[max(0, at - 2) : at + 1].count(names[at]) >= 2 else settled[at - 1])


def test_a_bundle_adopted_meanwhile_serves(learner: Learner, tmp_path: Path, network: Any) -> None:
    other = write_bundle(
        tmp_path / "other.edge", write_pictures(tmp_path / "photos", {"coins": 10, "grass": 10}), network
    )
    stop, seen = threading.Event(), list[Seen]()
    journal = Journal(learner.home, tmp_path / "in")
    picture("grass", 700).save(tmp_path / "in" / "a.png")
    for event in watch(learner, Folder(tmp_path / "in", journal), Rule(1, 1), 0.01, stop, journal):
        if isinstance(event, Sight):
            seen.append(event.seen)
            if len(seen) == 1:
                Learner.init(learner.home, other).store.close()
                picture("coins", 700).save(tmp_path / "in" / "b.png")
            else:
                assert event.labels == ("coins", "grass")
                stop.set()
    assert [one.generation for one in seen] == [1, 2]
    journal.close()


def test_an_unreadable_picture_is_named_once_and_watching_goes_on(learner: Learner, tmp_path: Path) -> None:
    (tmp_path / "in" / "a.jpg").write_bytes(b"no picture")
    for _ in range(2):
        journal = Journal(learner.home, tmp_path / "in")
        stop, skipped, idle = threading.Event(), 0, 0
        for event in watch(learner, Folder(tmp_path / "in", journal), Rule(1, 1), 0.01, stop, journal):
            skipped += isinstance(event, Skipped)
            idle += event is None
            if idle > 5:
                stop.set()
        journal.close()
        first = locals().get("first", skipped)
    assert (first, skipped) == (1, 0)


def test_a_full_disk_is_said_once_and_stops_nobody(
    learner: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(learner.home, tmp_path / "in")
    os.close(journal._file)
    journal._file = os.open("/dev/full", os.O_WRONLY)
    write_pictures(tmp_path / "in", {"grass": 3})
    stop, events = threading.Event(), list[Any]()
    for event in watch(learner, Folder(tmp_path / "in", journal), Rule(1, 1), 0.01, stop, journal):
        events.append(event)
        if sum(isinstance(event, Sight) for event in events) == 3:
            stop.set()
    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert "No space left on device" in notice.text


def test_a_label_is_settled_on_only_when_enough_answers_agree() -> None:
    smoother = Smoother(Rule(3, 5))
    assert [smoother.add(name) for name in "aabab"] == [None, None, None, "a", "a"]
    assert [smoother.add(name) for name in "bbccdde"] == ["b", "b", "b", "b", "b", "b", "b"], "until another is"


def test_after_a_camera_was_gone_its_old_answers_count_no_more(learner: Learner) -> None:
    data = jpeg(picture("brick", 3))

    class Flaky:
        name, live = "camera", True

        def frames(self, every: float, stop: threading.Event) -> Iterator[Any]:
            for _ in range(4):
                yield Frame("camera", data, 0.0)
            yield Notice("camera is gone", gone=True)
            yield Notice("camera is back", gone=False)
            for _ in range(3):
                yield Frame("camera", data, 0.0)

    events = list(watch(learner, Flaky(), Rule(3, 5), 0.01, threading.Event()))
    sights = [event.seen for event in events if isinstance(event, Sight)]
    assert [one.settled is None for one in sights] == [True, True, False, False, True, True, False]
    assert [one.changed for one in sights] == [False, False, True, False, False, False, False], (
        "it is what it was before"
    )


@pytest.mark.parametrize("text", ["5/3", "0/1", "2/4", "three", "3", "1/-1"])
def test_a_rule_that_is_none_is_refused(text: str) -> None:
    with refused("option-invalid", SourceError):
        Rule.parse(text)


# region -----------------------------------------------------------------------------------------------------------


def halves(left: str, right: str, seed: int) -> Image.Image:
    both = Image.new("RGB", (160, 80))
    both.paste(picture(left, seed, side=80), (0, 0))
    both.paste(picture(right, seed, side=80), (80, 0))
    return both


def test_the_region_is_what_is_taught_and_seen(learner: Learner, tmp_path: Path) -> None:
    learner.put_region(Region(0.5, 0, 0.5, 1))
    halves("grass", "brick", 1).save(tmp_path / "both.png")
    picture("brick", 1, side=80).save(tmp_path / "brick.png")
    frame = Frame("camera", (tmp_path / "both.png").read_bytes(), 0.0)
    answers = [a for a in learner.classify([tmp_path / "both.png", frame]) if isinstance(a, Answer)]
    with Learner(learner.home) as other:
        assert other.region == Region(0.5, 0, 0.5, 1), "kept in the home"
    assert learner.put_region(None) == 0
    (whole,) = [a for a in learner.classify([tmp_path / "brick.png"]) if isinstance(a, Answer)]
    assert [a.top for a in answers] == [whole.top, whole.top]
    learner.teach("brick", [tmp_path / "both.png"])
    assert learner.put_region(Region(0, 0, 0.5, 1)) == 1, "so many were taught on another part"


def test_a_turned_photo_is_cut_as_it_is_seen(learner: Learner, tmp_path: Path) -> None:
    upright = halves("grass", "brick", 2)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90° clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    upright.save(tmp_path / "upright.png")
    learner.put_region(Region(0.5, 0.1, 0.4, 0.6))
    a, b = (a for a in learner.classify([tmp_path / "turned.png", tmp_path / "upright.png"]) if isinstance(a, Answer))
    assert a.top == b.top


@pytest.mark.parametrize(
    "text", ["0.2,0.1,0.3", "a,b,c,d", "0.8,0,0.3,1", "-0.1,0,0.5,0.5", "0,0,0,1", "nan,0,1,1", ""]
)
def test_a_region_that_is_none_is_refused(text: str) -> None:
    with refused("region-invalid", SourceError):
        Region.parse(text)


# what is done with it -----------------------------------------------------------------------------------------------


def seen(label: str | None, probability: float = 0.9, changed: bool = True) -> Seen:
    name = label or "unknown"
    return Seen("/in/$(touch owned) `x`; y.png", "t", label, label is None, probability, (), 1, 1.0, name, changed)


def test_a_program_is_run_on_a_change_without_a_shell(tmp_path: Path) -> None:
    script = f"import os; open('{tmp_path}/log', 'a').write(os.environ['EDGE_LABEL'] + os.environ['EDGE_IMAGE'])"
    hooks = Hooks([Hook.parse("unknown", f'"{sys.executable}" -c "{script}"')], tmp_path)
    assert hooks.run(seen("open")) == []
    assert hooks.run(seen(None, changed=False)) == []
    assert hooks.run(seen(None)) == []
    assert hooks.run(seen(None)) == [], "it is no change to see the same again"
    wait_for(lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text() != "")
    assert (tmp_path / "log").read_text() == "unknown/in/$(touch owned) `x`; y.png"


def logging(tmp_path: Path, *labels: str) -> list[Hook]:
    """Programs that write their label to `log`, one character each, and end when `go` is there."""
    script = "while [ ! -e $1/go ]; do sleep 0.02; done; printf %.1s $EDGE_LABEL >> $1/log"
    return [Hook.parse(label, f"sh -c '{script}' x {tmp_path}") for label in labels]


def log_of(tmp_path: Path) -> str:
    return (tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""


def test_a_program_that_still_runs_is_started_after_it_if_its_label_is_still_seen(tmp_path: Path) -> None:
    hooks = Hooks(logging(tmp_path, "open", "shut"), tmp_path)
    assert hooks.run(seen("open")) == []
    assert hooks.run(seen("shut")) == []
    (line,) = hooks.run(seen("open"))
    assert "still runs" in line
    (line,) = hooks.run(seen("shut"))
    assert "still runs" in line
    (tmp_path / "go").touch()
    wait_for(lambda: bool(hooks.reap() or len(log_of(tmp_path)) == 3))
    wait_for(lambda: not hooks.reap() and not hooks._running)
    assert sorted(log_of(tmp_path)) == ["o", "s", "s"], "only what is seen is started again"


def test_a_program_is_not_started_again_before_it_has_cooled_down(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    now = 0.0
    kept: list[str] = []
    hooks = Hooks(logging(tmp_path, "open"), tmp_path, 10.0, None, kept.append, lambda: now)

    def settle() -> str:
        wait_for(lambda: not hooks.reap() and not hooks._running)
        return log_of(tmp_path)

    hooks.run(seen("open"))
    assert settle() == "o"
    hooks.run(seen("shut"))
    now = 5.0
    (line,) = hooks.run(seen("open"))
    assert "less than 10 s ago" in line
    assert settle() == "o"
    assert kept == ["open", "shut"], "were we stopped now, the next process would run it"
    now = 10.0
    assert settle() == "oo"
    assert kept == ["open", "shut", "open"]
    hooks.run(seen("shut"))
    now = 15.0
    hooks.run(seen("open"))
    hooks.run(seen("shut"))
    now = 100.0
    assert settle() == "oo", "its label is not what is seen any more"


def test_programs_are_run_on_a_change_and_not_at_each_start(home: Path, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    scenes = [picture("brick", 3), picture("grass", 3)]
    names = [name_of(home, jpeg(scene)) for scene in scenes]
    words = [word for hook in logging(tmp_path, *names) for word in ("--on", hook.label, shlex.join(hook.words))]
    shown = [0]
    with filming(lambda n: scenes[shown[0]]) as camera:
        for scene, expected in ((0, 1), (0, 1), (1, 2), (1, 2), (0, 3)):
            shown[0] = scene
            process = start(home, "watch", camera.url(), "--json", "--every", 0.02, *words)
            assert process.stdout is not None
            for line in process.stdout:
                if json.loads(line)["changed"]:
                    break
            wait_for(lambda n=expected: len(log_of(tmp_path)) >= n)
            for _ in range(5):
                process.stdout.readline()
            process.terminate()
            process.communicate()
            assert len(log_of(tmp_path)) == expected


def test_the_label_of_a_program_is_cleaned_as_every_label_is() -> None:
    assert Hook.parse("  Ku\u0308che ", "true").label == "K\u00fcche"
    assert Hook.parse("Unknown", "true").label == "unknown"
    with refused("label-invalid", LabelError, "--on"):
        Hook.parse("", "true")


def test_a_program_is_told_labels_as_utf8_and_names_as_they_are(tmp_path: Path) -> None:
    script = "import os; open('x', 'wb').write(os.environb[b'EDGE_LABEL'] + b' ' + os.environb[b'EDGE_IMAGE'])"
    program = f"""
import sys
from pathlib import Path
from edge.watch.hooks import Hook, Hooks
from edge.answers import Seen
hooks = Hooks([Hook("鳥", (sys.executable, "-c", {script!r}))], Path("."))
problems = hooks.run(Seen("caf\\udce9", "t", "鳥", False, 1.0, (), 1, 1.0, "鳥", True))
assert not problems, problems
hooks._running.popitem()[1].wait()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C", "PYTHONUTF8": "0"}
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "-X", "utf8=0", "program.py"]
    subprocess.run(command, check=True, cwd=tmp_path, env={**environment, "PYTHONCOERCECLOCALE": "0"})
    assert (tmp_path / "x").read_bytes() == "鳥 ".encode() + b"caf\xe9"


def test_a_program_that_fails_is_said(tmp_path: Path) -> None:
    hooks = Hooks([Hook.parse("open", "false")], tmp_path)
    hooks.run(seen("open"))
    problems: list[str] = []
    wait_for(lambda: bool(problems.extend(hooks.reap()) or problems))
    assert problems == ["--on open: false failed with exit code 1"]


@pytest.mark.parametrize("command", ["", "no-such-program x", 'echo "open'])
def test_a_command_that_cannot_run_is_refused_at_once(command: str) -> None:
    with refused("option-invalid", SourceError, "--on open"):
        Hook.parse("open", command)


@pytest.mark.parametrize(
    ("written", "meant"),
    [(" open ", "open"), ("cafe\u0301", "caf\u00e9"), (" Unknown", "unknown"), ("a/b", None), (" ", None)],
)
def test_a_label_to_run_something_on_is_the_one_that_is_meant(written: str, meant: str | None) -> None:
    if meant is None:
        with refused("label-invalid", LabelError):
            Hook.parse(written, "true")
    else:
        assert Hook.parse(written, "true").label == meant


def test_the_home_remembers_where_unsure_frames_are_kept(home: Path, tmp_path: Path) -> None:
    picture("coins", 5).save(tmp_path / "in" / "1.png")
    process = start(home, "watch", tmp_path / "in", "--save-uncertain", "unsure", "--below", 1, cwd=tmp_path)
    wait_for(lambda: bool(saved(tmp_path / "unsure")))
    process.terminate()
    assert process.wait() == 0
    with Learner(home) as learner:
        assert learner.uncertain == tmp_path / "unsure"


def test_unsure_frames_are_kept_under_the_budget_and_nothing_else_is_touched(tmp_path: Path) -> None:
    (tmp_path / "unsure").mkdir()
    (tmp_path / "unsure" / "mine.jpg").write_bytes(bytes(50_000))
    keep = Uncertain(tmp_path / "unsure", 20_000, 0.7, None)
    frames = [Frame(f"{n}", jpeg(picture("brick", n, side=64)), 1000.0 + n) for n in range(20)]
    paths = [keep.save(frame, seen("brick", 0.5)) for frame in frames]
    kept = saved(tmp_path / "unsure")
    assert sum(path.stat().st_size for path in kept) <= 20_000
    assert 1 < len(kept) < 20
    assert kept[-1] == paths[-1], "the oldest went"
    assert kept[-1].read_bytes() == frames[-1].data, "as the camera gave it"
    assert (tmp_path / "unsure" / "mine.jpg").exists()
    assert keep.save(frames[-1], seen("brick", 0.5)) is None, "nearly the same as one kept lately"
    assert keep.save(Frame("x", jpeg(picture("grass", 1)), 1.0), seen("brick", 0.7)) is None, "sure enough"
    assert keep.save(Frame("x", jpeg(picture("grass", 1)), 1.0), seen(None, 0.99)) is not None, "unknown"


def test_raw_frames_are_kept_as_jpeg(tmp_path: Path) -> None:
    raw = io.BytesIO()
    picture("brick", 1).save(raw, "PPM")
    path = Uncertain(tmp_path, 100_000, 0.7, None).save(Frame("x", raw.getvalue(), 5.0), seen(None))
    assert path is not None
    assert Image.open(path).format == "JPEG"


def test_noise_makes_no_new_frame_but_a_movement_does() -> None:
    random = np.random.default_rng(0)
    scene = np.asarray(picture("brick", 1, side=480)).astype(int)

    def frame(shift: int, box: int | None = None) -> Frame:
        pixels = np.roll(scene, shift, axis=1) + random.normal(0, 8, scene.shape)
        if box is not None:
            pixels[100:250, box : box + 150] = 255
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        return Frame("x", jpeg(image), 0.0)

    alike = Alike(None, 10)
    assert [alike.new(frame(0)) for _ in range(4)] == [True, False, False, False]
    assert [alike.new(frame(0, box)) for box in (50, 250)] == [True, True]
    assert not alike.new(frame(0, 250))
