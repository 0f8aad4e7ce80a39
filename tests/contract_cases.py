"""What is tried with every command: a row for each command and outcome, and the reason where an outcome cannot be.

A case is a command line in which {names} stand for things of the workspace that tests/test_contract.py makes. The
outcomes are those that a program must tell apart: *done*, *nothing* (all is well, and there was nothing to do),
*refused* (nothing was changed) and *partly* (some pictures could not be used).
"""

from typing import NamedTuple

OUTCOMES = {"done": {0}, "nothing": {0}, "refused": {1, 2}, "partly": {3}}


class Case(NamedTuple):
    """One command line; `before` are others that are run first, in the same home."""

    outcome: str
    line: str
    before: tuple[str, ...] = ()
    code: str = ""  # of a refusal

    @property
    def command(self) -> str:
        """The program and its command: "edge teach"."""
        return " ".join([word for word in self.line.split() if not word.startswith("-")][:2])


CASES = (
    # edge: making a home
    Case("done", "edge init {bundle}", before=("new home",)),
    Case("nothing", "edge init {bundle}"),
    Case("refused", "edge init {missing}", code="file-missing"),
    Case("refused", "edge init {text}", code="bundle-foreign"),
    Case("refused", "edge init {damaged bundle}", code="bundle-damaged"),
    # pictures in, answers out
    Case("done", "edge classify {folder}"),
    Case("done", "edge classify {folder} --explain"),
    Case("partly", "edge classify {mixed}"),
    Case("refused", "edge classify {missing}", code="picture-missing"),
    Case("refused", "edge classify {empty}", code="no-pictures"),
    Case("refused", "edge classify {folder}", before=("new home",), code="home-missing"),
    Case("done", "edge teach coins {folder}"),
    Case("nothing", "edge teach coins {folder}", before=("edge teach coins {folder}",)),
    Case("partly", "edge teach coins {mixed}"),
    Case("refused", "edge teach coins {missing}", code="picture-missing"),
    Case("refused", "edge teach coins {empty}", code="no-pictures"),
    Case("refused", "edge teach a/b {folder}", code="label-invalid"),
    Case("refused", "edge teach coins", code="usage"),
    Case("done", "edge teach --folders {class folders}"),
    Case("partly", "edge teach --folders {mixed class folders}"),
    Case("refused", "edge teach --folders {folder}", code="no-label-folders"),
    Case("refused", "edge teach cup {class folders}", code="folder-layout"),
    Case("refused", "edge teach coins {folder} --folders {class folders}", code="usage"),
    Case("done", "edge retrain", before=("edge teach coins {folder}",)),
    Case("nothing", "edge retrain --if-taught"),
    Case("refused", "edge retrain", before=("new home",), code="home-missing"),
    Case("refused", "edge retrain --known-coverage 7", code="usage"),
    Case("done", "edge evaluate {class folders}"),
    Case("partly", "edge evaluate {mixed class folders}"),
    Case("refused", "edge evaluate {empty}", code="no-label-folders"),
    Case("refused", "edge evaluate {missing}", code="folder-missing"),
    # looking at the home and changing it
    Case("done", "edge status"),
    Case("refused", "edge status", before=("new home",), code="home-missing"),
    Case("done", "edge history"),
    Case("refused", "edge history", before=("new home",), code="home-missing"),
    Case("done", "edge rollback"),
    Case("refused", "edge rollback 99", code="generation-unknown"),
    Case("done", "edge forget 1"),
    Case("done", "edge forget --label coins"),
    Case("done", "edge forget --session tuesday"),
    Case("refused", "edge forget 99", code="example-unknown"),
    Case("refused", "edge forget --label nothing", code="label-unknown"),
    Case("refused", "edge forget", code="usage"),
    Case("done", "edge relabel grass 1 2"),
    Case("nothing", "edge relabel coins 1"),
    Case("refused", "edge relabel grass 99", code="example-unknown"),
    Case("refused", "edge relabel a/b 1", code="label-invalid"),
    Case("done", "edge rename coins money"),
    Case("done", "edge rename coins grass --merge"),
    Case("refused", "edge rename coins coins --merge", code="label-taken"),
    Case("refused", "edge rename nothing money", code="label-unknown"),
    Case("refused", "edge rename coins grass", code="label-taken"),
    Case("done", "edge examples"),
    Case("done", "edge examples coins"),
    Case("nothing", "edge examples grass"),
    Case("refused", "edge examples nothing", code="label-unknown"),
    Case("done", "edge audit --html {page}"),
    Case("refused", "edge audit --html {text}", code="output-exists"),
    Case("done", "edge audit {folder}"),
    Case("partly", "edge audit {mixed}"),
    Case("refused", "edge audit", before=("edge forget --label coins",), code="too-few-examples"),
    Case("refused", "edge audit {missing}", code="picture-missing"),
    Case("done", "edge export {onnx}"),
    Case("done", "edge export {tflite}"),
    Case("done", "edge export {onnx} --labels {labels}"),
    Case("refused", "edge export {text}", code="output-unwritable"),
    Case("refused", "edge export {missing folder}", code="output-unwritable"),
    Case("nothing", "edge trust"),
    Case("done", "edge trust {key}"),
    Case("refused", "edge trust {text}", code="key-invalid"),
    Case("refused", "edge trust --remove nobody", code="key-unknown"),
    Case("done", "edge doctor"),
    Case("done", "edge doctor {folder}"),
    Case("done", "edge doctor --bundle {bundle}"),
    Case("refused", "edge doctor --bundle {damaged bundle}"),
    Case("done", "edge verify"),
    Case("refused", "edge verify", before=("new home",), code="home-missing"),
    Case("done", "edge backup {backup}"),
    Case("refused", "edge backup {missing folder}", code="output-unwritable"),
    Case("refused", "edge backup {text}", code="output-exists"),
    Case("done", "edge restore {backup}", before=("edge backup {backup}", "new home")),
    Case("refused", "edge restore {backup}", before=("edge backup {backup}",), code="home-exists"),
    Case("refused", "edge restore {text}", before=("new home",), code="backup-damaged"),
    # the camera
    Case("done", "edge watch {film}"),
    Case("refused", "edge watch {damaged film}", code="video-unreadable"),
    Case("refused", "edge watch {missing}", code="source-unknown"),
    Case("refused", "edge watch http://user:pass/word@camera.local/stream", code="address-invalid"),
    Case("done", "edge capture coins {film} --count 2 --every 0.1"),
    Case("refused", "edge capture coins {damaged film}", code="video-unreadable"),
    Case("refused", "edge capture coins {folder}", code="usage"),
    Case("refused", "edge capture a/b {film}", code="label-invalid"),
    Case("nothing", "edge review {empty}"),
    Case("refused", "edge review {unsure}", code="frames-missing"),
    Case("refused", "edge review {missing}", code="frames-missing"),
    # the page
    Case("refused", "edge serve {missing}", code="source-unknown"),
    Case("refused", "edge serve --listen 0.0.0.0", code="password-missing"),
    Case("refused", "edge serve --listen everywhere", code="usage"),
    Case("refused", "edge serve --tls-cert {text}", code="usage"),
    Case("refused", "edge serve --tls-cert {text} --tls-key {text}", code="certificate-unusable"),
    Case("refused", "edge serve", before=("new home",), code="home-missing"),
    Case("done", "edge password {text}"),
    Case("refused", "edge password", code="usage"),
    Case("refused", "edge password {missing}", code="password-invalid"),
    Case("refused", "edge password {text}", before=("new home",), code="home-missing"),
    # edge-export
    Case("done", "edge-export backbones"),
    Case("done", "edge-export sample {new}"),
    Case("refused", "edge-export sample {text}", code="output-exists"),
    Case("done", "edge-export build {class folders} --model {model} -o {made}"),
    Case("partly", "edge-export build {mixed class folders} --model {model} -o {made}"),
    Case("refused", "edge-export build {missing} --model {model} -o {made}", code="folder-missing"),
    Case("refused", "edge-export build {class folders} --model {text} -o {made}", code="model-unsuitable"),
    Case("refused", "edge-export build {class folders} --model {model} -o {text}", code="output-exists"),
    Case("refused", "edge-export build {class folders} --model {model} -o {missing folder}", code="output-unwritable"),
    Case("done", "edge-export check {bundle}"),
    Case("refused", "edge-export check {damaged bundle}", code="bundle-damaged"),
    Case("refused", "edge-export check {missing}", code="file-missing"),
    Case("done", "edge-export sign {copy} --key {private}"),
    Case("refused", "edge-export sign {bundle} --key {text}", code="key-invalid"),
    Case("refused", "edge-export sign {text} --key {private}", code="bundle-foreign"),
    Case("done", "edge-export card {bundle}"),
    Case("done", "edge-export card {bundle} -o {new card}"),
    Case("refused", "edge-export card {bundle} -o {text}", code="output-unwritable"),
    Case("refused", "edge-export card {damaged bundle}", code="bundle-damaged"),
    Case("refused", "edge-export deploy {text} nobody@127.0.0.1", code="bundle-foreign"),
    Case("refused", "edge-export deploy {bundle} -oProxyCommand=x", code="usage"),
    Case("done", "edge-export compare {class folders} --backbone embedded --size 32"),
    Case("partly", "edge-export compare {mixed class folders} --backbone embedded --size 32"),
    Case("refused", "edge-export compare {empty} --backbone embedded", code="no-label-folders"),
    Case("refused", "edge-export compare {class folders} --backbone nothing", code="backbone-unknown"),
    Case("done", "edge-export adapt {class folders} -o {new} --backbone embedded --strategy head --size 32"),
    Case("partly", "edge-export adapt {mixed class folders} -o {new} --backbone embedded --strategy head --size 32"),
    Case("refused", "edge-export adapt {empty} -o {new} --backbone embedded", code="no-label-folders"),
    Case("done", "edge-export pretrain {class folders} -o {weights} --steps 1 --batch 2 --size 32"),
    Case("refused", "edge-export pretrain {missing} -o {weights}", code="arrays-invalid"),
)

IMPOSSIBLE = {
    ("edge init", "partly"): "it adopts the whole bundle or nothing",
    ("edge classify", "nothing"): "a folder without pictures is refused",
    ("edge evaluate", "nothing"): "a folder without pictures is refused",
    ("edge audit", "nothing"): "without examples it is refused; without findings it says so and is done",
    ("edge review", "done"): "it asks for keys on a terminal: tests/edge/test_review.py drives one",
    ("edge review", "partly"): "a frame that cannot be read is skipped on the terminal",
    ("edge watch", "nothing"): "it runs until it is stopped: tests/edge/test_watch.py",
    ("edge watch", "partly"): "a folder is watched until it is stopped: tests/edge/test_watch.py",
    ("edge capture", "partly"): "a camera must have faults: tests/edge/test_capture.py",
    ("edge serve", "done"): "it runs until it is stopped: tests/edge/serve",
    ("edge serve", "nothing"): "it runs until it is stopped",
    ("edge serve", "partly"): "it runs until it is stopped",
    ("edge rename", "nothing"): "a name that is there already is refused",
    ("edge capture", "nothing"): "no new frame is 'partly'",
    ("edge doctor", "nothing"): "it always looks",
    ("edge doctor", "partly"): "what is wrong is a finding, and the exit code is 1",
    ("edge-export backbones", "refused"): "it takes no argument",
    ("edge-export deploy", "done"): "it needs an ssh server: tests/test_deploy.py runs one",
    ("edge-export pretrain", "partly"): "photos that cannot be read are passed over and counted",
}
# These do one thing whole or not at all, read no pictures, and always have something to do.
WHOLE = {
    "edge": [
        "status",
        "history",
        "rollback",
        "forget",
        "relabel",
        "rename",
        "examples",
        "export",
        "trust",
        "verify",
        "backup",
        "restore",
        "retrain",
        "password",
    ],
    "edge-export": ["backbones", "sample", "check", "sign", "card", "deploy"],
}
ALWAYS_BUSY = {
    "edge": ["status", "history", "rollback", "forget", "export", "verify", "backup", "restore", "password"],
    "edge-export": ["backbones", "sample", "check", "sign", "card", "deploy", "build", "compare", "adapt", "pretrain"],
}
IMPOSSIBLE |= {(f"{p} {c}", "partly"): "it is done whole or not at all" for p, cs in WHOLE.items() for c in cs}
IMPOSSIBLE |= {(f"{p} {c}", "nothing"): "it always has something to do" for p, cs in ALWAYS_BUSY.items() for c in cs}
