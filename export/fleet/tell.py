"""A script sent to a device over ssh: prints the device's examples as a contribution, in base64.

It uses only the device's own program, so the bytes are those that `edge contribute` would send.
"""

import base64
import sys

from edge.fleet.contribute import tell
from edge.fleet.identity import device_of, known_device
from edge.learner import Learner


def main(home: str) -> None:
    """Print the contribution of a home."""
    with Learner(home) as learner:
        device = known_device(learner) or device_of(learner, None, fresh=False)
        with learner.store.snapshot():
            _, data = tell(learner, device)
    sys.stdout.write(base64.encodebytes(data).decode())


if __name__ == "__main__":
    from edge.errors import EdgeError

    try:
        main(sys.argv[1])
    except EdgeError as error:
        sys.exit(f"error: {error}")
