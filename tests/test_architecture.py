"""The import rules: what the device half may load, who may import whom, and who may touch the disk."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from edge.cli import _ELSEWHERE

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
PURE = {
    "answers",
    "binomial",
    "choose",
    "curve",
    "domain",
    "drift",
    "errors",
    "evaluate",
    "figures",
    "fit",
    "gate",
    "gate_fit",
    "head",
    "held_out",
    "home_assistant",
    "judge",
    "kinds",
    "labels",
    "lda",
    "metadata",
    "moments",
    "pool",
    "promote",
    "region",
    "smooth",
    "stream",
    "suspects",
    "unmeasured",
}
DISK = {
    "arrival",
    "backup",
    "bundle",
    "database",
    "quiet",
    "schema",
    "signature",
    "preprocess",
    "filename",
    "files",
    "find",
    "adopt",
    "home",
    "learner",
    "doctor",
    "photos",
    "cli",
    "terminal",
    "backbone",
    "camera",
    "cli_camera",
    "folder",
    "machine",
    "hooks",
    "review",
    "stop",
    "stored",
    "trial",
    "turn",
    "verify",
    "uncertain",
}


def imports(file: Path) -> set[str]:
    """Every module a file imports anywhere, by its full name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


@pytest.mark.parametrize("module", ["edge", "edge.cli", "edge.learner", "edge.adopt", "edge.doctor"])
def test_the_device_half_loads_nothing_heavy(module: str) -> None:
    script = f"import sys, {module}; print(' '.join(m.split('.')[0] for m in sys.modules))"
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not FORBIDDEN & set(child.stdout.split())


def loaded(*arguments: str) -> set[str]:
    """Every module that a command line loads until it ends well."""
    script = (
        "import atexit, sys; atexit.register(lambda: print('\\n', *sys.modules)); from edge.cli import main; main()"
    )
    child = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return set(child.stdout.splitlines()[-1].split())


def test_help_needs_neither_numpy_nor_pillow() -> None:
    assert not {"numpy", "PIL", "sqlite3"} & loaded("--help")


def test_each_command_stands_where_the_group_looks_for_it_and_comes_without_the_other_modules() -> None:
    modules = {module: {m for m in _ELSEWHERE.values() if m != module} for module in _ELSEWHERE.values()}
    for name, module in _ELSEWHERE.items():
        seen = loaded(name, "--help")
        assert module in seen, name
        assert not modules[module] & seen, name
    assert not set(_ELSEWHERE.values()) & loaded("classify", "--help")


def test_a_mistyped_command_is_told_which_one_of_any_module_is_meant() -> None:
    for name in _ELSEWHERE:
        child = subprocess.run([sys.executable, "-m", "edge", name[:-1]], capture_output=True, text=True)
        assert f"'{name}'" in child.stderr, child.stderr


@pytest.mark.parametrize("file", sorted((ROOT / "edge").glob("*.py")), ids=lambda f: f.stem)
def test_the_device_half_never_imports_the_workstations(file: Path) -> None:
    assert not FORBIDDEN & {name.split(".")[0] for name in imports(file)}


@pytest.mark.parametrize("file", sorted((ROOT / "edge").glob("*.py")), ids=lambda f: f.stem)
def test_pure_modules_import_only_numpy_the_standard_library_and_each_other(file: Path) -> None:
    names = imports(file)
    ours = {name.split(".")[1] for name in names if name.startswith("edge.")}
    foreign = {n.split(".")[0] for n in names} - set(sys.stdlib_module_names) - {"edge", "numpy", "__future__"}
    if file.stem in PURE:
        assert not foreign
        assert ours <= PURE
        assert not {"os", "pathlib", "time", "random", "datetime", "io", "sqlite3"} & {n.split(".")[0] for n in names}
    if file.stem not in DISK:
        assert not {"os", "sqlite3", "shutil", "tempfile"} & {n.split(".")[0] for n in names}


@pytest.mark.parametrize("file", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda f: f.stem)
def test_no_test_depends_on_how_fast_it_runs(file: Path) -> None:
    """No deadline but the profile's none, and no time that is measured and compared with seconds."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "settings":
            assert "deadline" not in {k.arg for k in node.keywords}, f"{file.name}: tests/conftest.py says None for all"
        if isinstance(node, ast.Assert) and "perf_counter" in ast.unparse(node):
            raise AssertionError(f"{file.name}:{node.lineno} compares a time that was measured")


def test_nobody_uses_pickle_eval_or_a_shell() -> None:
    for file in [*(ROOT / "edge").glob("*.py"), *(ROOT / "export").glob("*.py")]:
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
    for file in [*(ROOT / "edge").rglob("*.py"), *(ROOT / "export").rglob("*.py")]:
        tree = ast.parse(file.read_text())
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        inside = {node for function in functions for node in ast.walk(function)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node not in inside:
                assert ast.unparse(node.func) not in changes, f"{file.name}: line {node.lineno}"
