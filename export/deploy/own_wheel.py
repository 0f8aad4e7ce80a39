"""Pack the running program as a wheel, so that a device gets the workstation's version.

The same files give the same bytes, so that a hash shows whether a device already has them.

Source: PEP 427 (wheel) and PEP 376 (RECORD).
"""

import base64
import hashlib
import re
import zipfile
from importlib import metadata
from pathlib import Path

import edge
import export
from edge.errors import EdgeError

NAME = "edge-transfer"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def pack(folder: Path) -> Path:
    """Write this program's wheel into a folder and return its path.

    Raises:
        EdgeError: the program is not installed, so its dependencies are not known.
    """
    try:
        installed = metadata.distribution(NAME)
    except metadata.PackageNotFoundError:
        raise EdgeError(
            "wheels-missing", f"{NAME} is not installed in this environment; run: pip install 'edge-transfer[export]'"
        ) from None
    info = f"edge_transfer-{edge.__version__}.dist-info"
    about = re.sub(r"(?m)^Version: .*$", f"Version: {edge.__version__}", installed.read_text("METADATA") or "", count=1)
    contents = {
        **_files(Path(edge.__file__).parent, "edge"),
        **_files(Path(export.__file__).parent, "export"),
        **_files(device_scripts(), "edge/device_scripts"),
        f"{info}/METADATA": about.encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: {NAME}\nRoot-Is-Purelib: true\nTag: py3-none-any\n".encode(),
        f"{info}/entry_points.txt": (installed.read_text("entry_points.txt") or "").encode(),
    }
    record = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    path = folder / f"edge_transfer-{edge.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.external_attr = (0o755 if name.endswith(".sh") else 0o644) << 16
            wheel.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return path


def device_scripts() -> Path:
    """Return the folder of install.sh and the systemd units: within the package, or beside it in a checkout."""
    package = Path(edge.__file__).parent
    inside = package / "device_scripts"
    return inside if inside.is_dir() else package.parent / "device_scripts"


def _files(folder: Path, name: str) -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {f"{name}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in found}


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
