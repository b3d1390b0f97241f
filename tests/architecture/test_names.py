"""Names: no drawers, no file that shadows a library, one-line packages, our five packages are ours."""

import ast
import importlib.util
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("flows", "components", "k8s", "model", "data_contracts")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "base", "core", "lib", "manager"}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_that_python_finds_is_ours(package: str) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin == str(ROOT / package / "__init__.py")


def test_no_module_is_a_drawer() -> None:
    assert [path for path in MODULES if path.stem in DRAWERS] == []


def test_no_module_bears_the_name_of_a_library() -> None:
    foreign = {name for name in packages_distributions() if not name.startswith("_")} - set(PACKAGES)
    taken = (foreign | set(sys.stdlib_module_names) | {"datasets", "evaluate"}) - {"__main__", "__init__"}
    # A subpackage is imported by its full name; only a run by file path would let it shadow, and we never do that.
    assert [
        str(path.relative_to(ROOT)) for path in MODULES if path.stem in taken & {"datasets", "evaluate", *foreign}
    ] == []


def test_a_package_is_one_docstring_line() -> None:
    for path in MODULES:
        if path.name == "__init__.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert len(tree.body) == 1, f"{path} holds code"
            assert ast.get_docstring(tree), f"{path} does not say what it is"


def test_files_stay_readable() -> None:
    assert {str(path): n for path in MODULES if (n := len(path.read_text().splitlines())) > 400} == {}
