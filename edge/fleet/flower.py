"""The device's half of a Flower app: a ClientApp that answers a query with what was taught here.

The answer is the contribution that `edge contribute` would send, byte for byte. `export/fleet/flower.py` asks for it
and merges it; `device_scripts/flower` names both for `flwr run`. The home is that of the SuperNode's `--node-config
'home="FOLDER"'`, else $EDGE_HOME. Whatever prevents an answer is sent back in one line.
"""

import os

from flwr.app import Array, ArrayRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from edge.errors import EdgeError, HomeError
from edge.fleet.contribute import told
from edge.home.state import Home

RECORD, ARRAY = "fleet", "contribution"  # where the bytes are in the answer
_UNKNOWN = 0  # Flower's code for errors of which the reason says all


def contribute(message: Message, context: Context) -> Message:
    """Answer a message with the contribution of this node's home, or with the reason why there is none.

    The bytes are sent as an array, since Flower sends arrays in parts of 5 MB.
    """
    try:
        with Home(_home(context)) as home:
            data = told(home)
    except EdgeError as error:
        return Message(Error(_UNKNOWN, str(error)), reply_to=message)
    array = Array("uint8", (len(data),), "edgefleet", data)
    return Message(RecordDict({RECORD: ArrayRecord({ARRAY: array})}), reply_to=message)


def _home(context: Context) -> str:
    home = context.node_config.get("home") or os.environ.get("EDGE_HOME")
    if not home:
        raise HomeError(
            "home-missing", "this SuperNode was told no home; start it with: --node-config 'home=\"/var/lib/edge\"'"
        )
    return str(home)


app = ClientApp()
app.query()(contribute)
