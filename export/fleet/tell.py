"""A script sent to a device over ssh: prints the device's examples as a contribution, in base64.

It uses only the device's own program, so the bytes are those that `edge contribute` would send.
"""

import base64
import sys

from edge.fleet.contribute import told
from edge.learner import Learner


def main(home: str) -> None:
    """Print the contribution of a home."""
    with Learner(home) as learner:
        data = told(learner)
    sys.stdout.write(base64.encodebytes(data).decode())


if __name__ == "__main__":
    from edge.errors import EdgeError

    try:
        main(sys.argv[1])
    except EdgeError as error:
        sys.exit(f"error: {error}")
