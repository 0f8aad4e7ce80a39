"""edge: the device half of edge-transfer. Runs a bundle and retrains its last layer from a few examples.

Gives the public names, each loaded when it is first used: `import edge` is free of every heavy import. docs/python.md
shows how they are used.

>>> from edge import Learner, Watcher
"""

from typing import TYPE_CHECKING

__version__ = "0.2.0"

if TYPE_CHECKING:
    from edge.answers import Answer as Answer
    from edge.answers import Audited as Audited
    from edge.answers import Evaluated as Evaluated
    from edge.answers import Exported as Exported
    from edge.answers import Forgotten as Forgotten
    from edge.answers import Guess as Guess
    from edge.answers import HistoryEntry as HistoryEntry
    from edge.answers import Neighbour as Neighbour
    from edge.answers import Renamed as Renamed
    from edge.answers import Retrained as Retrained
    from edge.answers import Skipped as Skipped
    from edge.answers import Status as Status
    from edge.answers import Taught as Taught
    from edge.answers import TaughtFolders as TaughtFolders
    from edge.errors import BundleError as BundleError
    from edge.errors import DatasetError as DatasetError
    from edge.errors import EdgeError as EdgeError
    from edge.errors import HomeBusy as HomeBusy
    from edge.errors import HomeError as HomeError
    from edge.errors import HomeMissing as HomeMissing
    from edge.errors import ImageError as ImageError
    from edge.errors import LabelError as LabelError
    from edge.errors import NotEnough as NotEnough
    from edge.errors import ParityError as ParityError
    from edge.errors import RuntimeMissing as RuntimeMissing
    from edge.errors import SignatureError as SignatureError
    from edge.errors import SourceError as SourceError
    from edge.errors import SourceRefused as SourceRefused
    from edge.home.examples import Example as Example
    from edge.learner import Learner as Learner
    from edge.picture.frame import Frame as Frame
    from edge.picture.given import PictureLike as PictureLike
    from edge.watch.watcher import FrameAnswer as FrameAnswer
    from edge.watch.watcher import Watcher as Watcher
else:
    _NAMES = {
        "edge.answers": (
            "Answer Audited Evaluated Exported Forgotten Guess HistoryEntry Neighbour Renamed Retrained Skipped Status "
            "Taught TaughtFolders"
        ),
        "edge.errors": (
            "BundleError DatasetError EdgeError HomeBusy HomeError HomeMissing ImageError LabelError NotEnough "
            "ParityError RuntimeMissing SignatureError SourceError SourceRefused"
        ),
        "edge.home.examples": "Example",
        "edge.learner": "Learner",
        "edge.picture.frame": "Frame",
        "edge.picture.given": "PictureLike",
        "edge.watch.watcher": "FrameAnswer Watcher",
    }
    _MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
    __all__ = sorted(_MODULES)

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module 'edge' has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value

    def __dir__() -> list[str]:
        return [*globals(), *__all__]
