"""How the package is built: imports point downward, no circles; files and classes are short."""

import ast
import statistics
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hashbwn_keras"

FLOORS = (
    ("cli",),
    ("demo",),
    ("training",),
    ("binarizer",),
    ("export",),
    ("reporting",),
    ("benchmark",),
    ("runtime",),
    ("network",),
    ("tflite",),
    ("solver",),
    ("running", "schedules", "files", "text", "environment", "keras2"),
    ("errors", "version"),
)
"""From top to bottom; a module may import what stands below it, and within its own package."""

FACES = {"hashing", "layers", "moments", "quantizers", "recipe", "tfmot"}
"""Public names of modules inside packages; nothing in the package imports them."""

OTHER_KERNELS = {"depthwise_kernel", "pointwise_kernel"}

STANDS_ALONE = "benchmark.tools.runner"
"""Copied to devices as one file, so it may be long."""


def modules() -> dict[str, ast.Module]:
    """Syntax trees of all modules by name below the package; a package by its own name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def imported(tree: ast.Module) -> set[str]:
    """Modules of the package that a module imports anywhere, inside functions too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] != "hashbwn_keras":
                continue
            name = name.removeprefix("hashbwn_keras").removeprefix(".")
            while name and name not in MODULES:
                name = name.rpartition(".")[0]
            found.add(name)
    return found


IMPORTS = {name: imported(tree) - {name} for name, tree in MODULES.items()}


def floor(name: str) -> int:
    """The number of the floor that a module is on, 0 at the top."""
    for number, names in enumerate(FLOORS):
        if name.split(".")[0] in names:
            return number
    raise AssertionError(f"{name} is on no floor: add it to FLOORS")


@pytest.mark.parametrize("name", sorted(set(MODULES) - {""} - FACES))
def test_imports_point_downward(name):
    package = name.split(".")[0]
    for other in IMPORTS[name] - {""}:
        assert other not in FACES, f"{name} imports {other}, which is a face for users"
        same = other.split(".")[0] == package and (other != package or name.endswith("__main__"))
        assert same or floor(other) > floor(name), f"{name} imports {other}, which is above it"


def test_no_imports_in_circles():
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for other in IMPORTS[name] - {""}:
                visit(other, (*path, name))
            done.add(name)

    for name in set(MODULES) - {""}:
        visit(name, ())


def length(node: ast.AST) -> int:
    return node.end_lineno - node.lineno + 1


def test_no_class_over_120_lines():
    classes = {
        f"{name}.{node.name}": length(node)
        for name, tree in MODULES.items()
        if name != STANDS_ALONE
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    assert {name: lines for name, lines in classes.items() if lines > 120} == {}


def test_no_private_function_with_over_6_parameters():
    long = {}
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("_"):
                arguments = node.args
                names = [a.arg for a in arguments.posonlyargs + arguments.args]
                count = len([n for n in names if n not in ("self", "cls")])
                count += len(arguments.kwonlyargs)
                if count > 6 and node.name != "__init__":
                    long[f"{name}.{node.name}"] = count
    assert long == {}


def test_modules_are_short():
    lines = {
        path.relative_to(PACKAGE).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
    }
    alone = f"{STANDS_ALONE.replace('.', '/')}.py"
    assert {name: n for name, n in lines.items() if n > 300 and name != alone} == {}
    assert statistics.median(lines.values()) <= 110


def test_one_table_knows_where_layers_keep_their_kernels():
    """The names of Keras's other kernel attributes stand in code of network/kernels.py alone."""
    knowing = {
        name
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in OTHER_KERNELS)
        or (isinstance(node, ast.Constant) and node.value in OTHER_KERNELS)
    }
    assert knowing == {"network.kernels"}
