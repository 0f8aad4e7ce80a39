"""What the Home Assistant add-on runs: from its options to `edge serve`, as a user that is not root.

The supervisor gives the options in /data/options.json, the broker's address by its API, and requests for the page from
its own address alone, after it has checked who the user is.

Source: developers.home-assistant.io, Add-on configuration, Add-on communication, Presenting your add-on (ingress).
"""

import hashlib
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

DATA = Path("/data")
HOME = DATA / "edge"  # in the add-on's own volume, which its backups contain
SHARE = Path("/share/edge")
INGRESS = "172.30.32.2"
SUPERVISOR = "http://supervisor"
USER = 10001


def fail(reason: str) -> None:
    """End with one line in the add-on's log."""
    sys.exit(f"error: {reason}")


def broker(name: str) -> str:
    """Return the address of the broker that is set up in Home Assistant; "" if there is none."""
    asked = urllib.request.Request(
        f"{SUPERVISOR}/services/mqtt", headers={"Authorization": f"Bearer {os.environ.get('SUPERVISOR_TOKEN', '')}"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            service = json.load(answer)["data"]
    except (urllib.error.URLError, TimeoutError, KeyError, ValueError) as error:
        print(
            f"no MQTT: the supervisor names no broker ({error}); install the add-on Mosquitto broker", file=sys.stderr
        )
        return ""
    login = ""
    if service.get("username"):
        login = f"{quote(service['username'], safe='')}:{quote(service.get('password') or '', safe='')}@"
    scheme = "mqtts" if service.get("ssl") else "mqtt"
    return f"{scheme}://{login}{service['host']}:{service['port']}/{quote(name, safe='')}"


def become_nobody() -> None:
    """Give the home to the user 10001, and become that user, who may also open the cameras."""
    HOME.mkdir(mode=0o700, exist_ok=True)
    for path in (HOME, *HOME.rglob("*")):
        os.chown(path, USER, USER, follow_symlinks=False)
    cameras = {camera.stat().st_gid for camera in Path("/dev").glob("video*")} - {0}
    os.setgroups(sorted(cameras))
    os.setgid(USER)
    os.setuid(USER)


def adopt(bundle: Path) -> None:
    """Make the home from the bundle, or bring it up to date, unless it was made from this very file."""
    if not bundle.is_file():
        if (HOME / "learner.db").exists():
            print(f"{bundle} is not there; going on with the bundle that is installed", file=sys.stderr)
            return
        fail(f"{bundle} does not exist; copy a bundle into the folder edge of Home Assistant's share, and set its name")
    digest, known = hashlib.sha256(bundle.read_bytes()).hexdigest(), HOME / "addon-bundle.sha256"
    if known.exists() and known.read_text() == digest:
        return
    if os.spawnlp(os.P_WAIT, "edge", "edge", "--home", str(HOME), "init", str(bundle)) != 0:
        fail(f"{bundle} could not be installed; see above")
    known.write_text(digest)


def main() -> None:
    """Prepare the home, and become `edge serve`."""
    options = json.loads((DATA / "options.json").read_text(encoding="utf-8"))
    environment = {**os.environ, "EDGE_HOME": str(HOME), "HOME": str(HOME)}
    if options.get("mqtt", True):
        url = broker(options["name"])
        environment |= {"EDGE_MQTT": url} if url else {}
    if options.get("source"):
        environment["EDGE_SOURCE"] = options["source"]  # not on the command line: it may hold a password
    environment.pop("SUPERVISOR_TOKEN", None)
    become_nobody()
    adopt(SHARE / options["bundle"])
    region = ["--region", options["region"]] if options.get("region") else []
    os.execvpe("edge", ["edge", "serve", "--listen", "0.0.0.0", "--only-from", INGRESS, *region], environment)


main()
