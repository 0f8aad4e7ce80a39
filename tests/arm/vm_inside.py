"""Inside the machine: from a folder of wheels to a camera service, as a person would, step by step.

    python3 vm_inside.py first | again

Runs as root under systemd, by the system's own Python. Each step prints one line: `step NAME: ok` or `failed`, with the
largest memory of its process, and what it said. `first` installs and learns, `again` is the boot after.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

KIT = Path("/opt/kit")
EDGE = "/opt/edge-transfer/bin/edge"
HOME = Path("/var/lib/edge")
INBOX = HOME / "inbox"
PATIENCE = 900.0  # seconds for a service, on a busy machine
failed: list[str] = []


def main() -> None:
    """Do what the first word says; exit with 1 if a step failed."""
    {"first": first, "again": again}[sys.argv[1]]()
    sys.exit(bool(failed))


def first() -> None:
    """Install, teach, retrain, classify, watch, stop, retrain as the timer does."""
    labels = taught()
    step("install.sh", "bash", str(KIT / "install.sh"), "web", "fleet")
    step("install.sh again", "bash", str(KIT / "install.sh"))
    KIT.chmod(0o755)
    as_user = ("runuser", "-u", "edge", "--", EDGE, "--home", str(HOME))
    step("init", *as_user, "init", str(KIT / "surfaces.edge"))
    for label in labels:
        step(f"teach {label}", *as_user, "teach", label, str(KIT / "photos" / label))
    step("retrain", *as_user, "retrain")
    step("classify", *as_user, "classify", *[str(picture(label)) for label in labels])
    step("doctor", *as_user, "doctor", codes=(0, 1))

    INBOX.mkdir()
    shutil.chown(INBOX, "edge", "edge")
    for name in ("watch", "serve"):
        patience = Path(f"/etc/systemd/system/edge-{name}.service.d/emulated.conf")  # nothing here is as fast as a Pi
        patience.parent.mkdir()
        patience.write_text("[Service]\nTimeoutStartSec=20min\nTimeoutStopSec=10min\nWatchdogSec=10min\n")
    Path("/etc/edge-transfer/watch.conf").write_text(f"EDGE_SOURCE={INBOX}\n")
    step("reload", "systemctl", "daemon-reload")
    step("start edge-watch", "systemctl", "start", "edge-watch")
    watched("a photo that arrives", labels[0])
    memory("edge-watch")
    stopped()

    page(as_user, labels[0])

    before = len(json.loads(said(*as_user, "history", "--json")))
    step("relabel", *as_user, "relabel", labels[1], "1")
    step("the timer's service", "systemctl", "start", "edge-retrain.service")
    history = json.loads(said(*as_user, "history", "--json"))
    tell("it made a generation", len(history) == before + 1, f"{len(history)} generations")
    step("the timer's service again", "systemctl", "start", "edge-retrain.service")
    history = json.loads(said(*as_user, "history", "--json"))
    tell("it made no other", len(history) == before + 1, f"{len(history)} generations")
    fleet(as_user)
    step("enable", "systemctl", "enable", "edge-watch.service", "edge-retrain.timer")
    for unit in ("edge-watch.service", "edge-serve.service", "edge-retrain.service", "edge-fleet.service"):
        step(f"security of {unit}", "sh", "-c", f"systemd-analyze security --no-pager {unit} | tail -n 1")


def again() -> None:
    """After a reboot the service watches by itself."""
    until = time.monotonic() + PATIENCE
    while properties("edge-watch", "ActiveState")["ActiveState"] != "active" and time.monotonic() < until:
        time.sleep(0.5)
    tell("edge-watch runs after a reboot", properties("edge-watch", "ActiveState")["ActiveState"] == "active", "")
    watched("a photo that arrives after a reboot", taught()[-1])
    waits = properties("edge-retrain.timer", "ActiveState", "NextElapseUSecRealtime")
    tell("the timer waits", waits["ActiveState"] == "active", str(waits))
    stopped()


PUBLISH = """
import dataclasses, hashlib, pathlib, sys
import numpy as np
from edge.bundle import archive
from edge.fleet.names import plan_name, release_name
from edge.fleet.release import Plan
from edge.fleet.remote import open_remote
from edge.head.moments import fixed
source, url = sys.argv[1:]
opened = archive.read(source)
found = opened.examples()
n = len(found.labels)
examples = dataclasses.replace(
    found,
    embeddings=fixed(found.embeddings).astype(np.float32),
    devices=np.zeros(n, np.int32),
    images=np.random.default_rng(0).integers(1, 256, (n, 32)).astype(np.uint8),
)
models = {model.file: opened.entry(model.file) for model in opened.manifest.models}
manifest = dataclasses.replace(opened.manifest, name="of a fleet", devices=("b" * 32,))
made = archive.write(
    pathlib.Path(url.removeprefix("file://"), "made.edge"), manifest, models, opened.golden(), examples,
    opened.background(), opened.domain(),
)
data = made.path.read_bytes()
remote = open_remote(url)
remote.put(release_name(1), data)
remote.put(plan_name(1), Plan(1, hashlib.sha256(data).hexdigest(), len(data), 100).to_json())
"""


def fleet(as_user: Sequence[str]) -> None:
    """Contribute to a folder and follow a release in it, by command and as the timer does."""
    store = HOME / "fleet"
    store.mkdir()
    shutil.chown(store, "edge", "edge")
    url = store.as_uri()
    step("contribute", *as_user, "contribute", url)
    sent = json.loads(said(*as_user, "contribute", url, "--json"))
    tell("nothing new is not sent", (sent["sequence"], sent["sent"]) == (1, False), str(sent))
    python = str(Path(EDGE).parent.resolve() / "python")  # its environment is found by the folder that it is really in
    step("publish", "runuser", "-u", "edge", "--", python, "-c", PUBLISH, str(KIT / "surfaces.edge"), url)
    step("follow", *as_user, "follow", url)
    now = json.loads(said(*as_user, "follow", url, "--json"))
    tell("the release is in use", (now["release"], now["verdict"], now["new"]) == (1, "accepted", False), str(now))
    Path("/etc/edge-transfer/fleet.conf").write_text(f"EDGE_FLEET={url}\n")
    step("the fleet's service", "systemctl", "start", "edge-fleet.service")
    sent = json.loads(said(*as_user, "contribute", url, "--json"))
    tell("it told what became of the release", (sent["sequence"], sent["sent"]) == (2, False), str(sent))


def page(as_user: Sequence[str], label: str) -> None:
    """By HTTP, as a phone would: log in, send a photo, let it learn, go back; then the home is as it was."""
    secret = HOME / "secret.txt"
    secret.write_text("correct horse\n")
    shutil.chown(secret, "edge", "edge")
    step("password", *as_user, "password", str(secret))
    settings = f"EDGE_SOURCE={INBOX}\nEDGE_SERVE_OPTIONS=--listen 0.0.0.0\n"
    Path("/etc/edge-transfer/serve.conf").write_text(settings)
    step("start edge-serve", "systemctl", "start", "edge-serve")
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    address = "http://127.0.0.1:8080/"

    def ask(path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        headers = {"Origin": address.rstrip("/"), "Content-Type": kind}
        with browser.open(urllib.request.Request(address + path, body, headers), timeout=PATIENCE) as got:
            return json.loads(got.read())

    try:
        ask("now")
        tell("a stranger is refused", False, "")
    except urllib.error.HTTPError as error:
        tell("a stranger is refused", error.code == 401, str(error))
    try:
        ask("login", json.dumps({"password": "correct horse"}).encode())
        before = ask("now")["home"]["generation"]
        sent = ask(f"photo?label={label}", picture(label).read_bytes(), "image/jpeg")
        if "upload" in sent:
            sent = ask("photo/keep", json.dumps({"upload": sent["upload"], "label": label, "keep": True}).encode())
        tell("a photo is uploaded", sent["stored"], str(sent)[:200])
        made = ask("retrain", b'{"force": true}')
        tell("it learns", made["promoted"], f"{made['total_milliseconds']:.0f} ms")
        back = ask("rollback", json.dumps({"generation": before, "serving": made["generation"]}).encode())
        tell("it goes back", back["generation"] == before, str(back)[:200])
        seen = [{"id": number, "label": label} for number in sent["examples"]]
        ask("undo", json.dumps({"examples": seen}).encode())
    except urllib.error.HTTPError as error:
        tell("the page answers", False, error.read().decode(errors="replace")[:400])
    memory("edge-serve")
    stopped("edge-serve")


def stopped(unit: str = "edge-watch") -> None:
    """Stop the service, which gets SIGTERM and must end by itself."""
    step(f"SIGTERM to {unit}", "systemctl", "stop", unit)
    journal = said("journalctl", "-u", unit, "-o", "cat", "--no-pager")  # systemd itself forgets a stopped unit
    tell("it ended well", "Deactivated successfully" in journal and "Failed with" not in journal, journal[-400:])


def watched(what: str, label: str) -> None:
    """Drop a photo into the folder that is watched, and see the line about it in the journal."""
    source = picture(label)
    partial = INBOX / ".partial"
    shutil.copy(source, partial)
    partial.rename(INBOX / f"{time.time_ns()}.jpg")
    until = time.monotonic() + PATIENCE
    name = max(path.name for path in INBOX.glob("*.jpg"))
    while time.monotonic() < until:
        journal = said("journalctl", "-u", "edge-watch", "-o", "cat", "--no-pager")
        found = [line for line in journal.splitlines() if f"{name}: " in line]
        if found:
            return tell(what, found[-1].endswith(" %") or found[-1].endswith(": unknown"), found[-1])
        time.sleep(1)
    return tell(what, False, said("journalctl", "-u", "edge-watch", "--no-pager")[-1500:])


def memory(unit: str) -> None:
    """The largest memory of a running service's process."""
    process = properties(unit, "MainPID")["MainPID"]
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    tell(f"memory of {unit}", True, "", int(peak))


def taught() -> list[str]:
    """The labels, which are folders of photos."""
    return sorted(path.name for path in (KIT / "photos").iterdir())


def picture(label: str) -> Path:
    """A photo that is not taught."""
    return sorted((KIT / "new" / label).iterdir())[0]


def properties(unit: str, *names: str) -> dict[str, str]:
    """What systemd knows of a unit."""
    lines = said("systemctl", "show", unit, *[f"--property={name}" for name in names]).splitlines()
    return dict(line.split("=", 1) for line in lines)


def said(*words: str) -> str:
    """A command's output."""
    return subprocess.run(words, capture_output=True, text=True).stdout


def step(name: str, *words: str, codes: tuple[int, ...] = (0,)) -> None:
    """Run a command, and tell how it ended and how much memory its largest process took."""
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        output.seek(0)
        ours = EDGE in words or "install.sh" in name
        tell(name, os.waitstatus_to_exitcode(status) in codes, output.read(), used.ru_maxrss if ours else 0)


def tell(name: str, well: bool, said: str, kilobytes: int = 0) -> None:
    """Print the line of a step, and after it what was said."""
    if not well:
        failed.append(name)
    print(json.dumps({"step": name, "well": well, "peak": kilobytes / 1024, "said": said}), flush=True)


if __name__ == "__main__":
    main()
