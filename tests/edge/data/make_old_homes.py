"""Write old_homes.zip, two homes of edge-transfer 0.1.0: run with that version's code, commit ef8305b.

    cd FOLDER_OF_0.1.0 && PYTHONPATH=. python …/tests/edge/data/make_old_homes.py old_homes.zip

`kept` keeps crops, `bare` does not. Both were taught eight synthetic pictures of coins, beside the three labels of the
bundle.
"""

import sys
import tempfile
import zipfile
from pathlib import Path

from edge.adopt import adopt
from edge.backbone import RUNTIMES, open_backbone
from tests.edge.conftest import MODELS, write_bundle, write_pictures


def main(target: Path) -> None:
    runtime = next(runtime for runtime in RUNTIMES if runtime.installed and runtime.format == "tflite")
    network = open_backbone(MODELS["tflite"].read_bytes(), runtime)
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        folder = Path(name)
        photos = write_pictures(folder / "photos", {"brick": 8, "grass": 8, "gravel": 8})
        coins = write_pictures(folder / "device", {"coins": 8}) / "coins"
        bundle = write_bundle(folder / "surfaces.edge", network, photos)
        for home, keep_crops in (("kept", True), ("bare", False)):
            with adopt(folder / home, bundle, "tflite", keep_crops=keep_crops) as learner:
                learner.teach("coins", [coins], "tuesday")
                learner.retrain()
            for file in sorted((folder / home).iterdir()):
                archive.write(file, f"{home}/{file.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
