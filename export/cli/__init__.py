"""`edge-export`: each command parses its arguments, makes one call and prints the result.
May import everything of `export`."""


def main() -> None:
    """Entry point of `edge-export` and `python -m export`."""
    from export.cli import app

    app.main()
