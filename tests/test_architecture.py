"""The import rules: what the device half may load, who may import whom, and who may touch the disk."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from benchmarks.imports import ORDER, TOP, folder, graph, imported, levels, modules, upward
from edge.cli.app import MODULES
from edge.codes import CODES

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "torch",
    "torchvision",
    "timm",
    "onnx",
    "onnxruntime",
    "ai_edge_litert",
    "tflite_runtime",
    "export",
    "safetensors",
}
PURE = {"head", "metrics", "unknown", "modelfile"}  # folders that import numpy and the standard library alone
PURE_MODULES = {
    "edge.answers",
    "edge.codes",
    "edge.errors",
    "edge.labels",
    "edge.text",
    "edge.audit.curve",
    "edge.audit.suspects",
    "edge.picture.kinds",
    "edge.picture.metadata",
    "edge.picture.region",
    "edge.mqtt.home_assistant",
    "edge.watch.smooth",
}
DISK = {"bundle", "home", "network", "picture", "camera", "care", "cli", "serve", "watch", "mqtt", "system", "fleet"}
DISK_MODULES = {"edge.files", "edge.testing", "edge.learner", "edge.learning.init", "edge.picture.frame"}
TOUCHES = {"os", "sqlite3", "shutil", "tempfile"}
OUTSIDE = {"os", "pathlib", "time", "random", "datetime", "sqlite3"}
MOST_FILES = 13
MOST_LINES = 320
LONG = {
    "edge.answers": "every answer, which is the JSON contract, in one list",
    "edge.codes": "one table: every error's code with cause and remedy",
    "edge.learner": "the public methods with their docstrings; each body is a call",
    "edge.bundle.archive": "the bundle's layout, read and written by one file so that the two cannot drift",
    "edge.cli.wording": "every answer in words, in the order of edge.answers",
    "export.adapt.run": "one plan from photos to the kept network",
    "export.adapt.train": "one strategy's training, its clock and its checkpoint",
    "export.cli.learning": "the options of three commands with their help",
    "export.network.backbones": "the table of networks, with where their weights come from",
}
EDGE = modules("edge")
EXPORT = modules("export")
PACKAGES = {name for name, file in EDGE.items() if file.name == "__init__.py"}


@pytest.mark.parametrize("module", ["edge", "edge.cli", "edge.learner", "edge.learning.init", "edge.care.doctor"])
def test_the_device_half_loads_nothing_heavy(module: str) -> None:
    script = f"import sys, {module}; print(' '.join(m.split('.')[0] for m in sys.modules))"
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not FORBIDDEN & set(child.stdout.split())


def loaded(*arguments: str, package: str = "edge") -> set[str]:
    """Every module that a command line loads until it ends well."""
    script = "import atexit, sys; atexit.register(lambda: print('\\n', *sys.modules)); from {}.cli import main; main()"
    script = script.format(package)
    child = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return set(child.stdout.splitlines()[-1].split())


def test_only_the_page_needs_its_libraries() -> None:
    for name, file in EDGE.items():
        if not name.startswith("edge.serve"):
            assert not {"starlette", "uvicorn"} & {n.split(".")[0] for n in imported(file)}, name
            assert name == "edge.cli.serve" or not any(n.startswith("edge.serve") for n in imported(file)), name


def test_help_needs_neither_numpy_nor_pillow() -> None:
    assert not {"numpy", "PIL", "sqlite3"} & loaded("--help")
    assert not {"numpy", "PIL", "sqlite3", "torch"} & loaded("--help", package="export")


def test_each_command_stands_where_the_group_looks_for_it_and_comes_without_the_other_modules() -> None:
    modules = {module: {m for m in MODULES.values() if m != module} for module in MODULES.values()}
    for name, module in MODULES.items():
        seen = loaded(name, "--help")
        assert module in seen, name
        assert not modules[module] & seen, name


def test_a_mistyped_command_is_told_which_one_of_any_module_is_meant() -> None:
    for name in MODULES:
        child = subprocess.run([sys.executable, "-m", "edge", name[:-1]], capture_output=True, text=True)
        assert f"'{name}'" in child.stderr, child.stderr


@pytest.mark.parametrize("package", ORDER)
def test_a_folder_imports_only_folders_below_it(package: str) -> None:
    assert not upward(graph(package))


@pytest.mark.parametrize("package", ORDER)
def test_no_module_imports_itself_through_others(package: str) -> None:
    assert len(levels(graph(package))) > 3


@pytest.mark.parametrize("package", ORDER)
def test_every_folder_stands_in_the_order_and_says_what_it_owns(package: str) -> None:
    uses: dict[str, set[str]] = defaultdict(set)
    for module, names in graph(package).items():
        uses[folder(module)] |= {folder(name) for name in names} - {folder(module), TOP}
    for init in (ROOT / package).rglob("*/__init__.py"):
        assert init.parent.name in ORDER[package], init
        tree = ast.parse(init.read_text())
        owns_and_imports = re.split(r"(?<=\.)\s+", (ast.get_docstring(tree) or "").split("\n\n")[0])
        assert len(owns_and_imports) == 2, f"{init}: open with two sentences, on what it owns and what it may import"
        assert owns_and_imports[1].startswith("May import "), init
        named = set(re.findall(r"`(\w+)`", owns_and_imports[1]))
        missing = uses[init.parent.name] - named
        assert not missing or "everything" in owns_and_imports[1], f"{init} does not name {missing}"
        rest = {node.name for node in tree.body[1:] if isinstance(node, ast.FunctionDef)}
        assert len(tree.body) == 1 or rest == {"main"}, f"{init}: imports make every module of the folder heavy"
    for name, file in (EDGE | EXPORT).items():
        assert (file.parent / "__init__.py").exists(), f"{name}: without __init__.py a wheel may leave it out"


def test_a_folder_holds_about_ten_files_and_a_file_is_about_one_job() -> None:
    folders: dict[Path, int] = {}
    for name, file in (EDGE | EXPORT).items():
        folders[file.parent] = folders.get(file.parent, 0) + (file.name != "__init__.py")
        lines = file.read_text(encoding="utf-8").count("\n")
        assert lines <= MOST_LINES or name in LONG, f"{name} has {lines} lines: split it by job, or say in LONG why not"
        assert lines > MOST_LINES - 100 or name not in LONG, f"{name} is short now; take it out of LONG"
    assert not {folder: count for folder, count in folders.items() if count > MOST_FILES}


@pytest.mark.parametrize("half", ["edge", "export"])
def test_the_folders_of_tests_are_those_of_what_they_test(half: str) -> None:
    folders = {path.parent.name for path in (ROOT / "tests" / half).glob("*/test_*.py")}
    assert {"network", "bundle"} <= folders <= set(ORDER[half])


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_the_pages_about_the_house_name_every_folder_and_no_file_that_is_gone(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in set(ORDER["edge"]) - {"system", TOP}:
        assert re.search(rf"(edge/|`){name}\b", text), f"{page} does not say what edge/{name} is"
    for path in re.findall(r"\b(?:edge|export)/[a-z_/]+\.py\b", text):
        assert (ROOT / path).exists(), f"{page}: {path} is gone"


@pytest.mark.parametrize("module", [name for name in EDGE if folder(name) != "home"])
def test_the_database_is_the_homes_own_affair(module: str) -> None:
    """No SQL outside edge/home; nobody reaches through a home for its store; what is above the learner asks it."""
    tree = ast.parse(EDGE[module].read_text())
    above = ORDER["edge"].index(folder(module)) < ORDER["edge"].index("care")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not re.match(r"(SELECT|INSERT|UPDATE|DELETE|PRAGMA) ", node.value), f"{module}:{node.lineno}: SQL"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "store":
            assert ast.unparse(node.value.value) == "self", f"{module}:{node.lineno}: {ast.unparse(node)}"
        assert not (above and isinstance(node, ast.Attribute) and node.attr == "store"), f"{module}:{node.lineno}"


@pytest.mark.parametrize("module", EDGE)
def test_the_device_half_never_imports_the_workstations(module: str) -> None:
    assert not FORBIDDEN & {name.split(".")[0] for name in imported(EDGE[module])}


def pure(module: str) -> bool:
    return module in PURE_MODULES or folder(module) in PURE


@pytest.mark.parametrize("module", EDGE)
def test_pure_modules_import_only_numpy_the_standard_library_and_each_other(module: str) -> None:
    names = imported(EDGE[module])
    roots = {name.split(".")[0] for name in names}
    if pure(module):
        allowed = {"edge", "numpy", "__future__"} | ({"sklearn"} if module == "edge.head.sklearn" else set())
        assert not roots - set(sys.stdlib_module_names) - allowed
        assert not [name for name in names & set(EDGE) if name not in PACKAGES and not pure(name)]
        assert not OUTSIDE & roots
        calls = [ast.unparse(n.func) for n in ast.walk(ast.parse(EDGE[module].read_text())) if isinstance(n, ast.Call)]
        assert not [call for call in calls if call.split(".")[-1] == "open"]
    if folder(module) not in DISK and module not in DISK_MODULES:
        assert not TOUCHES & roots


@pytest.mark.parametrize("file", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda f: f.stem)
def test_no_test_depends_on_how_fast_it_runs(file: Path) -> None:
    """No deadline but the profile's none, and no time that is measured and compared with seconds."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "settings":
            assert "deadline" not in {k.arg for k in node.keywords}, f"{file.name}: tests/conftest.py says None for all"
        if isinstance(node, ast.Assert) and "perf_counter" in ast.unparse(node):
            raise AssertionError(f"{file.name}:{node.lineno} compares a time that was measured")


def test_nobody_uses_pickle_eval_or_a_shell() -> None:
    for file in [*EDGE.values(), *EXPORT.values()]:
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            assert name not in {"eval", "exec", "os.system", "pickle.load", "pickle.loads"}, f"{file.name}: {name}"
            options = {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert "shell" not in options, f"{file.name}: {name}"
            assert options.get("allow_pickle", "False") == "False", f"{file.name}: {name}"
            assert name != "torch.load" or options.get("weights_only") == "True", f"{file.name}: {name}"


def test_importing_a_module_changes_no_filter_of_warnings_and_no_logging() -> None:
    changes = {"warnings.filterwarnings", "warnings.simplefilter", "logging.disable", "np.seterr"}
    for file in [*EDGE.values(), *EXPORT.values()]:
        tree = ast.parse(file.read_text())
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        inside = {node for function in functions for node in ast.walk(function)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node not in inside:
                assert ast.unparse(node.func) not in changes, f"{file.name}: line {node.lineno}"


def test_every_error_has_a_code_of_the_table_and_every_code_of_the_table_is_used() -> None:
    trees = {name: ast.parse(file.read_text()) for name, file in {**EDGE, **EXPORT}.items()}
    classes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    errors, more = set[str](), {"EdgeError"}
    while more:  # those derived from EdgeError, from these, and so on
        errors |= more
        more = {c.name for c in classes if errors & {ast.unparse(base) for base in c.bases}} - errors
    used = set()
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and name != "edge.codes":
                used.add(node.value)
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in errors:
                code = node.args[0]
                known = isinstance(code, ast.Name | ast.Attribute) or ast.literal_eval(code) in CODES
                assert known, f"{name}, line {node.lineno}: the first argument is no code of edge/codes.py"
    assert CODES.keys() <= used, "these codes are documented but never used"
