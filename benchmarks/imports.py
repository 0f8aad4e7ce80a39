"""The import levels of `edge` and `export`: python -m benchmarks.imports.

A module stands one level above the highest module that it imports, wherever in the file the import stands. Folders are
listed from the command line down to what imports nothing. `tests/test_architecture.py` proves what is printed here.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOP = "(top)"  # modules directly in the package that every folder may import
ORDER = {  # the folders of each package: each imports only those behind it
    "edge": (
        "testing",
        "cli",
        "serve",
        "watch",
        "frigate",
        "mqtt",
        "care",
        "learner",
        "fleet",
        "learning",
        "retraining",
        "audit",
        "home",
        "network",
        "camera",
        "bundle",
        "picture",
        "unknown",
        "metrics",
        "head",
        "modelfile",
        "system",
        TOP,
    ),
    "export": (
        "cli",
        "fleet",
        "deploy",
        "pretrain",
        "adapt",
        "compare",
        "bundle",
        "convert",
        "network",
        "photos",
        "pool",
        TOP,
    ),
}


def modules(package: str) -> dict[str, Path]:
    """Return the file of each module of a package, by the module's full name."""
    files = sorted((ROOT / package).rglob("*.py"))
    names = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}
    if len(names) < 20:
        raise ValueError(f"only {len(names)} modules under {ROOT / package}; is this the project's folder?")
    return names


def imported(file: Path) -> set[str]:
    """Return every name that a file imports anywhere: modules, and what is taken from them, as `module.name`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{file}:{node.lineno}: imports are absolute here")
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def graph(package: str) -> dict[str, set[str]]:
    """Return which modules of its own package each module imports; packages without content are not among them."""
    files = modules(package)
    return {
        name: {m for m in imported(file) if m in files and m != name and files[m].name != "__init__.py"}
        for name, file in files.items()
        if file.name != "__init__.py" or imported(file)
    }


def folder(module: str) -> str:
    """Return the folder of a module, as `ORDER` names it.

    >>> folder("edge.head.lda"), folder("edge.learner"), folder("edge.errors"), folder("edge.cli")
    ('head', 'learner', '(top)', 'cli')
    """
    package, *rest = module.split(".")
    return rest[0] if rest and rest[0] in ORDER[package] else TOP


def upward(imports: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    """Return the imports of a module in a folder above."""
    return sorted(
        (module, other)
        for module, others in imports.items()
        for other in others
        if (order := ORDER[module.split(".")[0]]).index(folder(other)) < order.index(folder(module))
        and module.count(".") > 0  # `edge` itself gives its public names, which stand anywhere
        and not module.endswith("__main__")
    )


def levels(imports: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return the modules by level, those that import nothing first.

    Raises:
        graphlib.CycleError: they import each other in a circle.
    """
    sorter = TopologicalSorter(imports)
    sorter.prepare()
    found = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        sorter.done(*ready)
        found.append(ready)
    return found


def main() -> int:
    """Print folders and levels of both packages; 1 if anything runs upwards or in a circle."""
    wrong = 0
    for package in ORDER:
        imports = graph(package)
        inside = defaultdict(list)
        for module in imports:
            if not module.endswith("__main__") and module != package:
                inside[folder(module)].append(module.rsplit(".", 1)[-1])
        print(f"{package}: {len(imports)} modules; each folder imports only folders below it")
        for name in ORDER[package]:
            if inside[name]:
                print(f"  {name:10} {' '.join(n for n in inside[name] if n != name or len(inside[name]) == 1)}")
        try:
            for number, level in enumerate(levels(imports)):
                print(f"  level {number:2}: {' '.join(m.split('.', 1)[-1] for m in level)}")
            print("  no circle")
        except CycleError as error:
            print(f"  a circle: {' → '.join(error.args[1])}")
            wrong = 1
        for module, other in upward(imports):
            print(f"  upwards: {module} imports {other}")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
