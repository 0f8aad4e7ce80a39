"""`edge-export`: parses, calls, prints, and decides nothing.
May import everything of `export`."""


def main() -> None:
    """Entry point of `edge-export` and `python -m export`."""
    from export.cli import app

    app.main()
