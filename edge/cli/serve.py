"""The commands for the web page: `serve` and `password`."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from edge.cli import app
from edge.cli.terminal import PATH, complain
from edge.cli.watching import stopped_by_signals, tell, watching

if TYPE_CHECKING:
    from edge.watch.loop import Sight


@click.command()
@click.argument("source", envvar="EDGE_SOURCE", required=False)
@click.option(
    "--listen",
    "host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 makes the page reachable from other machines, which needs a password.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port to listen on.")
@click.option("--host", "names", multiple=True, metavar="NAME", help="A name that a proxy has for this machine.")
@click.option(
    "--only-from",
    metavar="ADDRESS",
    help="Accept requests from this proxy alone, without a password: it checks who the user is.",
)
@click.option("--tls-cert", type=PATH, metavar="FILE", help="Certificate (PEM), to serve https.")
@click.option("--tls-key", type=PATH, metavar="FILE", help="Private key (PEM) of the certificate.")
@watching
@app.shared
def serve(
    source: str | None,
    host: str,
    port: int,
    names: tuple[str, ...],
    only_from: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    **options: Any,
) -> None:
    """Watch SOURCE, and serve a web page to teach and review.

    SOURCE is as for edge watch; without it, the page has no live picture. Uncertain frames are saved in the home
    for edge review, unless --save-uncertain names a folder. This needs: pip install 'edge-transfer[web]'.
    """
    import ipaddress

    from edge.errors import RuntimeMissing
    from edge.watch.systemd import Notifier

    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise click.UsageError(f"--listen {host} is not an address; write 127.0.0.1, 0.0.0.0 or ::") from None
    try:
        only_from = only_from and str(ipaddress.ip_address(only_from))
    except ValueError:
        raise click.UsageError(f"--only-from {only_from} is not an address; write one such as 172.30.32.2") from None
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together: give both or none")
    try:
        from edge.serve.run import ListenAddress
        from edge.serve.run import serve as serving
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise RuntimeMissing(
            "library-missing", f"{error.name} is not installed; run: pip install 'edge-transfer[web]'"
        ) from None
    from edge.learner import Learner
    from edge.watch.asked import Asked

    home, as_json = app.home(), app.as_json()
    stop = stopped_by_signals()

    def told(sight: "Sight", live: bool) -> None:
        tell(sight, live, stop, as_json)

    serving(
        lambda: Learner(home, warn=complain),
        home,
        Asked(source=source, **options),
        ListenAddress(host, port, names, tls_cert, tls_key, only_from),
        Notifier(os.environ),
        stop,
        told,
        complain,
    )
    complain("stopped")


class PasswordSet(NamedTuple):
    """The result of `password`."""

    file: str


@click.command()
@click.argument("file", type=PATH, required=False)
@app.shared
def password(file: Path | None) -> None:
    """Set the password of the page that edge serve shows.

    It is asked for on the terminal, or read from the first line of FILE ('-' is stdin). Everybody who is logged in
    must log in again.
    """
    from edge.errors import HomeError
    from edge.serve.password import put

    home = app.home()
    if not home.is_dir():
        from edge.home.database import missing

        raise missing(home)
    if file is None:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise click.UsageError("without a terminal, name a FILE whose first line is the password")
        given = click.prompt("new password", hide_input=True, confirmation_prompt="once more", err=True)
    else:
        try:
            lines = sys.stdin.readline() if str(file) == "-" else file.read_text(encoding="utf-8").partition("\n")[0]
        except (OSError, UnicodeDecodeError) as error:
            raise HomeError(
                "password-invalid", f"{file} cannot be read as text ({error}); give a file with the password"
            ) from None
        given = lines.rstrip("\r\n")
    result = PasswordSet(str(put(home, given)))
    app.answer(result, lambda: ["the password is set; everybody must log in again"])
