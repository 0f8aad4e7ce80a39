"""The command line: parses, calls one method of the learner or of `care`, `watch` and `camera`, and prints the answer.
May import everything of `edge`; nothing of `edge` imports it, and nothing heavy is loaded before a command needs it."""


def main() -> None:
    """Entry point of `edge` and `python -m edge`."""
    from edge.cli import app

    app.main()
