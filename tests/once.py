"""Real exports, each made once per run: many tests export the same few networks to measure something else."""

import fcntl
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

Export = Callable[["nn.Module", int], bytes]


def once(export: Export, folder: Path) -> Export:
    """Wrap an export so that it gives the same network at the same size the bytes that it gave before.

    Args:
        export: The export.
        folder: Where the bytes are kept; workers that share it wait for each other's exports.
    """

    def remembered(network: "nn.Module", size: int) -> bytes:
        with (folder / f"{export.__name__}-{fingerprint(network)}-{size}").open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            made = file.read()
            if not made:
                made = export(network, size)
                file.write(made)
            return made

    return remembered


def fingerprint(network: "nn.Module") -> str:
    """The hash of all that an export depends on: classes, settings, weights and buffers."""
    from torch import nn

    hashed = hashlib.sha256()
    internal = vars(nn.Module()).keys()
    for name, module in network.named_modules():
        settings = {key: value for key, value in vars(module).items() if key not in internal}
        hashed.update(repr((name, type(module), module.training, sorted(settings.items()))).encode())
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        hashed.update(repr((name, tensor.dtype, tensor.shape)).encode())
        hashed.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()
