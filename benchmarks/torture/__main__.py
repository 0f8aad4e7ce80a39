"""`make torture`: harm of every kind, one table, exit code 1 if anything was lost.

python -m benchmarks.torture [PART …]
"""

import importlib
import sys

from benchmarks.torture.row import Row, lines

PARTS = ("faults", "kills", "crowd", "powercut", "fuzz")  # modules beside this one


def main() -> None:
    """Run the parts named, or all, and print their rows."""
    rows: list[Row] = []
    for part in sys.argv[1:] or PARTS:
        module = importlib.import_module(f"benchmarks.torture.{part}")
        rows += module.run(lambda text: print(text, file=sys.stderr, flush=True))
    print("\n".join(lines(rows)))
    sys.exit(any(row.wrong for row in rows))


if __name__ == "__main__":
    main()
