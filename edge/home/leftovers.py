"""Leftovers of interrupted commands in a home's folder."""

from edge.files import abandoned, sync_folder
from edge.home.ours import JOURNAL, own_bundles, put_own_bundles
from edge.home.state import Home


def delete_leftovers(home: Home) -> list[str]:
    """Delete our unused bundles and the leftovers of our interrupted commands; returns one line for each.

    Raises:
        HomeError, BundleError: the home cannot be written, or its bundle cannot be read.
    """
    with home.store.transaction():  # nobody adopts a bundle meanwhile
        adopted = home.bundle.path  # which can be read: where it cannot, what looks left over may be it
        ours = own_bundles(home.store)
        bundles = [home.home / name for name in ours]
        journals = [path for path in home.home.glob("watched-*.jsonl") if JOURNAL.fullmatch(path.name)]
        left = [path for path in bundles if path != adopted and path.is_file()]
        lines = []
        for path in [*left, *(partial for whole in (*bundles, *journals) for partial in abandoned(whole))]:
            size = path.stat().st_size
            path.unlink()
            lines.append(f"{path.name}, left by an interrupted command, was deleted ({size / 1e6:.1f} MB)")
        if left:
            sync_folder(home.home)  # what is no longer noted as ours must not come back by a power cut
            put_own_bundles(home.store, set(ours) - {path.name for path in left})
    return lines
