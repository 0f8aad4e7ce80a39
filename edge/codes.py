"""The codes of all errors: what each means and what to do. docs/errors.md is made from this table.

A code never changes its meaning: programs may rely on it, while the text of a message may become clearer with any
version. `python -m edge.codes` prints the page.
"""

from typing import NamedTuple


class Meaning(NamedTuple):
    """Why an error happens, and what to do about it: one or two sentences each."""

    cause: str
    remedy: str


CODES = {
    # pictures and folders of pictures
    "picture-missing": Meaning("A picture file or folder does not exist, or a link points nowhere.", "Check the path."),
    "picture-unreadable": Meaning(
        "A picture file cannot be opened: its permissions forbid it, or it is not an ordinary file.",
        "Check its permissions and give the path of a picture.",
    ),
    "picture-damaged": Meaning(
        "A picture is damaged or was cut off while it was copied.", "Copy it again from the camera or the card."
    ),
    "picture-unsupported": Meaning(
        "A file is not a picture, or is a picture in a format that cannot be read here.",
        "Save it as JPEG, PNG or WebP; the message names the library that reads other formats.",
    ),
    "picture-too-large": Meaning(
        "Decoding a picture would take too much memory, or it claims an unreasonable size.", "Make the picture smaller."
    ),
    "picture-not-numbers": Meaning(
        "The network gives NaN or infinity for a picture.", "Run edge doctor to check the network."
    ),
    "no-pictures": Meaning("A folder contains no picture that can be read.", "Give another folder."),
    "folder-missing": Meaning("A folder does not exist, or the path is a file.", "Check the path."),
    "folder-unreadable": Meaning("A folder cannot be opened.", "Check its permissions."),
    "folder-layout": Meaning(
        "The subfolders are not arranged as one folder per label, for example because they are laid out for object "
        "detection, lie one level deeper, or two of them stand for the same label.",
        "Arrange the pictures as one folder per label; the message says what was found.",
    ),
    "no-label-folders": Meaning(
        "A folder of photos has fewer than two subfolders that could be labels.",
        "Put the pictures of each label into a folder named after it.",
    ),
    "too-few-photos": Meaning(
        "A label, or a folder of unrelated photos, has too few photos that can be read.", "Add photos."
    ),
    "grouping-invalid": Meaning(
        "The value of --group-by is neither a keyword nor a regular expression, or fits none of the photos.",
        "Use prefix, folder, session, or a regular expression that matches the photos' names.",
    ),
    "grouping-too-coarse": Meaning(
        "All photos of a label belong to one group, so that none are left for validation.",
        "Add photos taken on another occasion, or group more finely.",
    ),
    "arrays-invalid": Meaning(
        "A file of packed pictures does not contain arrays of the expected names, types and shapes.",
        "Write it again as the message describes.",
    ),
    # labels and examples
    "label-invalid": Meaning(
        "A label is empty, too long, reserved, or contains a character that no folder name can have.",
        "Choose another name, such as 'glass'.",
    ),
    "label-unknown": Meaning("There is no such label or session.", "Run edge status to list the labels."),
    "label-taken": Meaning(
        "A label cannot be renamed because the new name is already in use.",
        "Choose another name, or merge the two labels with edge rename OLD NEW --merge.",
    ),
    "example-unknown": Meaning(
        "There is no example with this number, or made from this picture.", "Run edge examples to list them."
    ),
    "too-few-examples": Meaning(
        "There are no examples, or too few for this.", "Teach more: edge teach LABEL PICTURES."
    ),
    "too-few-labels": Meaning(
        "Fewer than two labels have examples, or would have after this change.",
        "Teach another label first: edge teach LABEL PICTURES.",
    ),
    "labels-mismatch": Meaning(
        "The number or order of labels does not fit the embeddings or the head that came with them.",
        "Pass exactly one label for each embedding.",
    ),
    "embeddings-mismatch": Meaning(
        "Embeddings have another shape or number of features than expected, as if from another network.",
        "Use the same backbone for everything.",
    ),
    "embedding-not-numbers": Meaning("An embedding contains NaN or infinity.", "Run edge doctor to check the network."),
    "limit-exceeded": Meaning(
        "There are more examples, features, labels or bytes than can be handled.", "Use fewer, as the message says."
    ),
    # bundles and models
    "file-missing": Meaning("A file does not exist, or the path is a folder.", "Check the path."),
    "file-unreadable": Meaning("A file cannot be read.", "Check its permissions and the disk."),
    "file-changed": Meaning(
        "A file was changed while it was being read.", "Wait until it is complete, then try again."
    ),
    "bundle-foreign": Meaning("A file is not a bundle.", "Give a file made by edge-export build."),
    "bundle-damaged": Meaning(
        "A bundle was cut off or changed: its size, hashes or structure are not as they were written.",
        "Copy it again from the workstation.",
    ),
    "bundle-invalid": Meaning(
        "A bundle is intact, but contains something that no bundle should, such as an impossible value.",
        "Build it again with edge-export build.",
    ),
    "bundle-lacks-model": Meaning(
        "A bundle does not contain the model, format or precision that was asked for.",
        "Choose one that it contains, or build the bundle again.",
    ),
    "too-new": Meaning(
        "A bundle, home, backup or other file was written by a newer version of this program.", "Upgrade edge-transfer."
    ),
    "backbone-changed": Meaning(
        "The examples in the home were taught with another network than that of the bundle.",
        "Choose another --home and teach them again.",
    ),
    "model-damaged": Meaning("A model file is damaged or cut off.", "Build the bundle, or export the model, again."),
    "model-unsafe": Meaning(
        "A model uses something that a plain image network does not need: files elsewhere, custom operators, control "
        "flow, variables.",
        "Export it for inference, as one file of standard operators.",
    ),
    "model-unsuitable": Meaning(
        "A model is not an embedding network for this program: wrong inputs or outputs, an old opset, or already a "
        "classifier.",
        "Export a model that takes uint8 pictures (N, S, S, 3) and returns one float vector each.",
    ),
    "model-failed": Meaning(
        "A model makes the runtime fail, crash, hang or use too much memory.",
        "Choose another --runtime, or build the bundle again.",
    ),
    "model-differs": Meaning(
        "A model gives other embeddings here than it did on the workstation.",
        "Use another runtime or precision, or build the bundle again.",
    ),
    "model-not-numbers": Meaning(
        "A network gives NaN or infinity, or its weights contain such values.", "Use other weights."
    ),
    "head-damaged": Meaning(
        "The stored final layer of a generation is damaged.", "Run edge retrain, or edge rollback."
    ),
    # signatures
    "bundle-unsigned": Meaning(
        "The home trusts certain keys, and the bundle is not signed.",
        "Have it signed with edge-export sign BUNDLE --key KEY.",
    ),
    "bundle-older": Meaning(
        "The bundle was signed before the newest one that was installed in this home.",
        "To go back on purpose, sign it again.",
    ),
    "key-untrusted": Meaning(
        "The bundle is signed with a key that this home does not trust.",
        "Check who made the bundle; edge trust lists the keys.",
    ),
    "signature-invalid": Meaning(
        "The signature is damaged, was made for another purpose, or does not fit the bundle.",
        "Get the bundle again from its maker. Do not use this one.",
    ),
    "key-invalid": Meaning(
        "This is not a key of the expected kind.", "Make one with ssh-keygen -t ed25519 and give NAME.pub."
    ),
    "key-unknown": Meaning(
        "No trusted key, or more than one, fits the given name.", "Give the fingerprint printed by edge trust."
    ),
    "key-passphrase": Meaning(
        "The passphrase of the private key is missing or wrong.", "Run the command in a terminal and type it again."
    ),
    # the home
    "home-missing": Meaning("There is no home at this place yet.", "Create it: edge --home DIR init NAME.edge."),
    "home-busy": Meaning("Another process is using the home for too long.", "Try again."),
    "home-closed": Meaning("A program uses a learner that it has closed.", "Open it again: Learner(home)."),
    "home-exists": Meaning(
        "A backup cannot be restored over an existing home or other files.",
        "Move them away, or restore into another --home.",
    ),
    "home-foreign": Meaning(
        "The folder contains files of another program where the home's own should be.", "Choose another --home."
    ),
    "home-not-yours": Meaning("The home belongs to another user.", "Run the command as that user."),
    "home-unwritable": Meaning(
        "The home, or a backup of it, cannot be written: the disk is full, read-only or failing.",
        "Free some space or check the disk. Nothing was changed.",
    ),
    "home-damaged": Meaning(
        "The home's database contains something that was not written there.",
        "Run edge verify; if it cannot repair it, restore a backup with edge restore FILE.",
    ),
    "backup-damaged": Meaning("A file is not a backup, or is damaged.", "Use another backup."),
    "generation-unknown": Meaning(
        "There is no generation with this number, or none to go back to.", "Run edge history to list them."
    ),
    "generation-unusable": Meaning(
        "A generation cannot be used: it was trained on something forgotten since, or on another network.",
        "Choose another one from edge history, or run edge retrain.",
    ),
    "forget-unscrubbed": Meaning(
        "The examples are forgotten, but their bytes remain in the database's log while another program is reading it.",
        "Stop the other programs; the last one to close the home erases them.",
    ),
    # cameras and other sources
    "broker-missing": Meaning(
        "Frigate's tracked objects are to be watched, of which Frigate tells only an MQTT broker, and none was given.",
        "Give the broker that Frigate uses with --mqtt, or watch the camera's frames: frigate://HOST/CAMERA.",
    ),
    "source-unknown": Meaning(
        "SOURCE is not a camera, address, folder, picture or video file.",
        "Give picamera, /dev/video0, http://…, rtsp://…, or a path.",
    ),
    "address-invalid": Meaning(
        "An address is malformed or ambiguous.", "Write it as the message shows, and escape special characters."
    ),
    "region-invalid": Meaning(
        "A region is not four fractions within the picture.", "Write left,top,width,height, such as 0.2,0.1,0.3,0.5."
    ),
    "option-invalid": Meaning("The value of an option is not possible.", "Use a value that the message names."),
    "camera-missing": Meaning("The camera is not plugged in.", "Check its cable and its name."),
    "camera-denied": Meaning("This user may not use the camera.", "Add the user to the group video."),
    "camera-failed": Meaning(
        "The camera cannot be opened, or stopped giving frames.", "Check its cable, and that no other program uses it."
    ),
    "video-unreadable": Meaning("A video file cannot be read.", "Convert it to MP4 or AVI."),
    "stream-failed": Meaning(
        "A network camera does not answer, or its stream breaks off.", "Check the camera and the network."
    ),
    "stream-not-pictures": Meaning(
        "A network camera answers with something that is not a picture or stream of pictures.",
        "Give the address of its stream or snapshot.",
    ),
    "address-refused": Meaning(
        "A network camera refuses the address, or redirects in a circle.", "Check the path in the address."
    ),
    "login-refused": Meaning(
        "A network camera refuses the user name and password, or asks for a login that is not supported.",
        "Write scheme://user:password@host, and escape special characters.",
    ),
    "certificate-untrusted": Meaning(
        "The certificate of an https camera is not trusted, as with most cameras, or it does not use https.",
        "In your own network, use --allow-self-signed, or an http address.",
    ),
    "folder-busy": Meaning("Another process is watching this folder for this home.", "Stop that process first."),
    "watcher-exists": Meaning(
        "Another process publishes under the same name to the MQTT broker.",
        "Stop it, or add another /NAME to the --mqtt address.",
    ),
    "frames-missing": Meaning(
        "There is no folder of frames to review, or no terminal to review them in.",
        "Save some with edge watch SOURCE --save-uncertain DIR.",
    ),
    "frames-unwritable": Meaning(
        "A frame cannot be saved or moved in the folder of saved frames.", "Make the folder writable, or use another."
    ),
    "frame-over-budget": Meaning("One frame is larger than the space for all saved frames.", "Give a larger --budget."),
    # the web page
    "page-outdated": Meaning(
        "Somebody else changed what the page shows, or it is no longer there.", "Look at the page again."
    ),
    "request-invalid": Meaning("A request to the page's address is malformed.", "Load the page again."),
    "upload-too-large": Meaning(
        "A photo sent to the page is too large, or the device's card is full.",
        "Send a smaller photo, or free some space.",
    ),
    "server-busy": Meaning("Too many requests are waiting.", "Try again in a moment."),
    "server-stopping": Meaning("The server is stopping.", "Start it again: edge serve."),
    "password-invalid": Meaning(
        "The new password is too short or too long, or its file cannot be read.", "Choose another password."
    ),
    "password-missing": Meaning(
        "The page would be reachable from other machines without a password.",
        "Set one with edge password, or use the address 127.0.0.1.",
    ),
    "port-unavailable": Meaning("Another program uses the port, or it is not allowed.", "Choose another --port."),
    "certificate-unusable": Meaning(
        "The certificate or key for https is missing, or they do not belong together.",
        "Give the right files with --tls-cert and --tls-key.",
    ),
    # runtimes and libraries
    "runtime-missing": Meaning(
        "No runtime for the model's format is installed.", "Install one: the message contains the command."
    ),
    "runtime-broken": Meaning(
        "The runtime is installed but does not load here.", "Install another one, or the versions that it needs."
    ),
    "library-missing": Meaning(
        "A library or program that this needs is not installed, or does not load.",
        "Install it: the message contains the command.",
    ),
    # files that are written
    "output-exists": Meaning(
        "The file or folder to be written exists and is something else, so it is not overwritten.",
        "Choose another name.",
    ),
    "output-unwritable": Meaning(
        "The file cannot be written there: the folder is missing or read-only, the disk is full, or the name has the "
        "wrong ending.",
        "Choose another path.",
    ),
    # networks and weights on the workstation
    "backbone-unknown": Meaning(
        "There is no network of this name that can be used.", "Choose one listed by edge-export backbones."
    ),
    "weights-unknown": Meaning("There are no such weights for this network.", "Give --weights FILE."),
    "weights-missing": Meaning(
        "The weights or model file is not on this machine.",
        "Check the path, or install the weights as the message says.",
    ),
    "weights-damaged": Meaning(
        "A file of weights is damaged, or does not contain plain tensors.",
        "Save a state dict, or download the file again.",
    ),
    "weights-mismatch": Meaning(
        "The weights belong to another network.", "Give the network that they belong to with --backbone."
    ),
    "download-failed": Meaning(
        "Weights could not be downloaded.", "Download them on another machine and give --weights FILE."
    ),
    "conversion-failed": Meaning(
        "The network cannot be converted for the device.", "Choose another --runtime, --size or network."
    ),
    # adapting and pretraining
    "strategy-unsuitable": Meaning("This strategy cannot be applied to this network.", "Choose another --strategy."),
    "adapted-folder-invalid": Meaning(
        "The folder was not written by edge-export adapt, or is damaged.", "Run edge-export adapt again."
    ),
    "run-mismatch": Meaning(
        "The files of an interrupted run are damaged, or belong to a run with other settings.",
        "Give the same settings (or --resume) to continue, or move the files away to start again.",
    ),
    "training-diverged": Meaning("The loss became infinite or NaN.", "Use a lower --rate."),
    "teacher-unsuitable": Meaning(
        "There is no teacher, and no labels, to learn from, or the teacher is not a suitable network.",
        "Give a --teacher with its classifier, or labels for all pictures.",
    ),
    # devices over ssh
    "device-unreachable": Meaning("The ssh connection to the device failed.", "Check the host and try again."),
    "device-unsuitable": Meaning(
        "The device lacks something that the program needs, such as a recent Python or free space.",
        "Do what the message says, then deploy again.",
    ),
    "device-failed": Meaning("A command on the device failed.", "Read the message; deploying again is always safe."),
    "device-refuses-bundle": Meaning(
        "The bundle does not work on the device; the previous one is still in use.",
        "Build the bundle again, or choose another runtime.",
    ),
    "wheels-missing": Meaning(
        "The packages for the device cannot be found or downloaded.", "Follow the message, or deploy without --offline."
    ),
    # the fleet
    "contribution-invalid": Meaning(
        "A file in the fleet's store is no contribution, or says something impossible.",
        "Contribute again from that device; the newest contribution counts.",
    ),
    "contribution-damaged": Meaning(
        "A contribution in the fleet's store is cut short, or its bytes were changed.",
        "Contribute again from that device; the newest contribution counts.",
    ),
    "contribution-backbone": Meaning(
        "A contribution was made with another backbone than that of the bundle.",
        "Install the bundle on that device and let it contribute again, or merge with the bundle that it runs.",
    ),
    "contribution-moments": Meaning(
        "A contribution tells sums only, but a bundle ships examples, to which a device fits its head.",
        "Contribute without --moments.",
    ),
    "contribution-unsigned": Meaning(
        "Signatures were asked for, and a contribution has none, or none that counts.",
        "Give the device a key and list it in the file given with --signers.",
    ),
    "labels-file-invalid": Meaning(
        "A file of labels that count as others has a line that is no such pair, or pairs that lead back to themselves.",
        "Correct the line that the message names.",
    ),
    "device-unknown": Meaning(
        "No device of the fleet, or more than one, has an id that begins so.", "Run edge-export fleet status URL."
    ),
    "release-unknown": Meaning(
        "The fleet's store holds no such release, or none at all.", "Publish one: edge-export fleet publish URL BUNDLE."
    ),
    "order-damaged": Meaning("An order to undo a device, in the fleet's store, is damaged.", "Give the order again."),
    "plan-invalid": Meaning(
        "The newest plan of the fleet is damaged, or says something impossible.", "Publish again from the workstation."
    ),
    "release-damaged": Meaning(
        "A release in the fleet's store is not what its plan says.", "Publish it again from the workstation."
    ),
    "device-twice": Meaning(
        "The store has a contribution under this device's id that this home did not send: another box was copied from "
        "the same card or backup, or this home was restored from a backup.",
        "Run edge contribute URL --id new on a copy, or --id keep on the only box.",
    ),
    "device-key": Meaning(
        "The home has another id in its fleet than that of the signing key, or signed before and no key is given.",
        "Give the key that it signed with, or take another id with --id new.",
    ),
    "store-url-invalid": Meaning(
        "This is not the URL of a store.", "Give s3://, gs://, az://, https:// or file:/// and its folder."
    ),
    "store-missing": Meaning(
        "The store has no such bucket, folder or object.", "Check the URL, or create the bucket or folder."
    ),
    "store-unreachable": Meaning(
        "The store cannot be reached.", "Nothing was lost; run the command again when the network is back."
    ),
    "store-refused": Meaning(
        "The store refuses: there are no credentials, or they do not allow this.",
        "Set the store's own environment variables; docs/fleet.md lists them.",
    ),
    "store-name-taken": Meaning(
        "The store already holds other bytes under the name that was to be made.", "Run the command again."
    ),
    "store-too-large": Meaning("An object in the store is larger than it may be.", "Read the message."),
    "store-failed": Meaning("The store failed, or the disk under it.", "Try again later."),
    # the command line itself
    "usage": Meaning("The command line is wrong (exit code 2).", "Run the command with --help."),
    "system": Meaning("The operating system refused something, such as opening a file.", "Read the message."),
    "permission-denied": Meaning(
        "The user who runs the command may not read or write a file, or not enter a folder above it.",
        "Check the permissions of the file and of the folders above it.",
    ),
    "out-of-memory": Meaning("There is not enough memory.", "Close other programs, or use smaller pictures."),
}


def page() -> str:
    """Return docs/errors.md."""
    rows = [f"| `{code}` | {meaning.cause} | {meaning.remedy} |" for code, meaning in sorted(CODES.items())]
    return "\n".join([
        "# Errors",
        "",
        "Every error has a code that never changes its meaning. Programs can rely on it; the text of a message may",
        "change with any version. In Python it is `error.code`; with `--json`, a refused command prints",
        '`{"error": "…", "code": "…"}` on stdout.',
        "",
        "<!-- made by: python -m edge.codes > docs/errors.md -->",
        "",
        "| code | cause | remedy |",
        "|---|---|---|",
        *rows,
        "",
    ])  # fmt: skip


if __name__ == "__main__":
    print(page(), end="")
