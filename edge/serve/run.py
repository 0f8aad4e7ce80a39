"""Starts the server: listens, opens the home in the learner's thread, watches the source, and serves until stopped."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import uvicorn

from edge.camera.source import Source
from edge.errors import EdgeError, SourceError
from edge.learner import Learner
from edge.serve import learn
from edge.serve.app import build
from edge.serve.desk import Desk
from edge.serve.engine import Engine, Shared
from edge.serve.guard import listens_beyond_loopback, local_name
from edge.serve.live import Live
from edge.serve.password import Stored
from edge.watch.asked import Asked
from edge.watch.loop import Sight
from edge.watch.service import Listeners, keep_watching, prepare, put_region
from edge.watch.systemd import Notifier

UNCERTAIN = "uncertain"  # the folder in the home for frames to review, unless another is named
CONNECTIONS = 100  # at a time; further ones are asked to try again later
AGAIN = 10.0  # seconds to wait after a source failed before trying again


class ServeError(EdgeError, OSError):
    """The server cannot listen on the address, or must not do so without a password."""


@dataclass(frozen=True)
class ListenAddress:
    """Where to listen, and the host names that are accepted."""

    host: str  # an address of this machine
    port: int  # the port; 0 picks a free one
    names: tuple[str, ...] = ()  # host names that a proxy or the network uses for this machine
    # cert, key: the certificate and key files for TLS; None for plain HTTP
    cert: Path | None = None
    key: Path | None = None
    # the address of a proxy that authenticates its users; all other clients are refused. None allows any.
    only_from: str | None = None


def serve(
    open_learner: Callable[[], Learner],
    home: Path,
    asked: Asked,
    address: ListenAddress,
    notifier: Notifier,
    stop: threading.Event,
    tell: Callable[[Sight, bool], None],
    say: Callable[[str], None],
) -> None:
    """Serve the page, and watch, until `stop` is set.

    Args:
        open_learner: opens the home; called in the thread that will own it.
        tell: called with each answer, and with whether it comes from a camera.
        say: called with each message, one line.

    Raises:
        ServeError: the address is taken or needs a password first.
        EdgeError: the home or the source cannot be used.
    """
    stored = Stored(home)
    beyond = listens_beyond_loopback([address.host]) and address.only_from is None
    if beyond and stored.get() is None:
        raise ServeError(
            "password-missing",
            f"{address.host} can be reached from other machines, but no password is set; run edge password, "
            "or listen on 127.0.0.1",
        )
    everywhere = beyond and address.host in ("0.0.0.0", "::")
    listening = _listen(address)
    with contextlib.closing(listening):
        if asked.source is not None and asked.save_uncertain is None:
            asked = replace(asked, save_uncertain=home / UNCERTAIN)
        engine, live = Engine(stop), Live()
        thread = _Thread(open_learner, asked, engine, live, notifier, tell, say)
        desk = thread.desk = Desk(engine, live, home, asked.save_uncertain or home / UNCERTAIN, thread.region_changed)
        app = build(desk, stored, address.names, needs_password=beyond, only_from=address.only_from)
        app.state.thread, app.state.say = thread, say
        server = _Server(_config(app, address))
        thread.ended = lambda: setattr(server, "should_exit", True)
        thread.start()
        thread.ready.wait()
        if thread.error is None:
            elsewhere = f"on a phone open {_url(listening, address, local_name())}, or the same with its IP address; "
            say(f"the page is at {_url(listening, address)}; {elsewhere * everywhere}end with Ctrl-C")
            notifier.tell("READY=1")
            server.run(sockets=[listening])
        notifier.tell("STOPPING=1")
        stop.set()
        thread.join()
    if thread.error is not None:
        raise thread.error


class _Thread(threading.Thread):
    """The learner's thread: opens the home, watches, runs the jobs, and closes the home."""

    desk: Desk

    def __init__(
        self,
        open_learner: Callable[[], Learner],
        asked: Asked,
        engine: Engine,
        live: Live,
        notifier: Notifier,
        tell: Callable[[Sight, bool], None],
        say: Callable[[str], None],
    ) -> None:
        super().__init__(name="learner")
        self.error: BaseException | None = None
        self.ready = threading.Event()
        self.ended: Callable[[], None] = lambda: None
        self._open, self._asked, self._engine, self._live = open_learner, asked, engine, live
        self._notifier, self._tell, self._say = notifier, tell, say
        self._listeners: Listeners | None = None

    def run(self) -> None:
        """Work until asked to stop, or until the home can no longer be used."""
        try:
            with self._open() as learner:
                learn.tidy(learner.home)
                if self._asked.save_uncertain is None and learner.uncertain is not None:
                    self.desk.uncertain = learner.uncertain  # the folder that `edge watch` used last
                self._watch(learner)
        except BaseException as error:  # `serve` raises it again
            self.error = error
        finally:
            self._engine.stop.set()
            self._engine.refuse()
            self.ready.set()
            self.ended()

    def region_changed(self, learner: Learner) -> None:
        """Compare frames for review by the new region."""
        if self._listeners is not None:
            self._listeners.keep = self._asked.uncertain(learner)

    def _watch(self, learner: Learner) -> None:
        stop = self._engine.stop
        first = True
        while not stop.is_set():
            if self._asked.source is None:
                for line in put_region(learner, self._asked.region):
                    self._say(line)
                self._serve_alone(learner, float("inf"))
                return
            try:
                self._watch_once(learner)
            except SourceError as error:
                if first and not self.ready.is_set():
                    raise
                self._say(f"{error}; trying again in {AGAIN:.0f} s")
                self._live.state, self._live.text = "gone", str(error)
                self._serve_alone(learner, AGAIN)
                continue
            finally:
                first = False
            self._live.state = "ended"
            self._serve_alone(learner, float("inf"))

    def _watch_once(self, learner: Learner) -> None:
        with ExitStack() as closing:
            listeners = self._listeners = Listeners(self._told, self._say, self._notifier.alive)
            ready = prepare(learner, self._asked, listeners, closing)
            self._live.name, self._live.continuous = ready.source.name, ready.source.live
            if self._live.state == "none":
                self._live.state = "starting"
            shared: Source = Shared(ready.source, self._engine, learner, self._live.show, self._turn(learner))
            learner.backbone()
            self._at_work(learner)
            keep_watching(learner, shared, ready.rule, self._asked.every, self._engine.stop, listeners, ready.journal)

    def _serve_alone(self, learner: Learner, seconds: float) -> None:
        """Run jobs while there is nothing to watch."""
        end, turn = time.monotonic() + seconds, self._turn(learner)
        learner.backbone()
        self._at_work(learner)
        while not self._engine.stop.is_set() and time.monotonic() < end:
            self._engine.next(learner)  # drops events left in the queue by a source that has ended
            self._notifier.alive()
            turn(None)

    def _turn(self, learner: Learner) -> Callable[[object], None]:
        return lambda event: self.desk.turn(learner, event)  # type: ignore[arg-type]

    def _at_work(self, learner: Learner) -> None:
        if not self.ready.is_set():
            self._keep_crops(learner)
        self.desk.refresh(learner)
        self.ready.set()

    def _told(self, sight: Sight) -> None:
        self._live.answer(sight)
        self._tell(sight, self._live.continuous)

    def _keep_crops(self, learner: Learner) -> None:
        """Keep small pictures of examples for the page, unless the home was made with `edge init --no-keep-crops`."""
        if learner.recall("keep_crops") is None:
            learner.remember("keep_crops", "1")
            self._say("from now on a small picture of each example is kept, for the page to show")


class _Server(uvicorn.Server):
    """A server that handles no signals, because the command line does."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Do nothing."""
        yield


def _config(app: object, address: ListenAddress) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,  # URLs contain labels, and logging wears out the SD card
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=3,
        ssl_certfile=str(address.cert) if address.cert else None,
        ssl_keyfile=str(address.key) if address.key else None,
    )


def _listen(address: ListenAddress) -> socket.socket:
    for file in (address.cert, address.key):
        if file is not None and not file.is_file():
            raise ServeError(
                "certificate-unusable",
                f"{file} does not exist; give the files of a certificate with --tls-cert and --tls-key",
            )
    if address.cert is not None:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(address.cert, address.key)
        except (OSError, ValueError) as error:
            raise ServeError(
                "certificate-unusable",
                f"{address.cert} and {address.key} are not a matching certificate and key ({error})",
            ) from None
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind((address.host, address.port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ServeError(
            "port-unavailable",
            f"{address.host} port {address.port} cannot be used ({error.strerror}); choose another one with --port",
        ) from None
    return listening


def _url(listening: socket.socket, address: ListenAddress, host: str = "") -> str:
    host = host or (f"[{address.host}]" if ":" in address.host else address.host)
    return f"http{'s' if address.cert else ''}://{host}:{listening.getsockname()[1]}/"
