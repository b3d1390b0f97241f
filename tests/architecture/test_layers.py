"""The import rules of pyproject.toml hold, and light things stay light."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_house_stands_on_its_floors() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["components.catalog", "components.config", "components.settings"])
def test_reading_the_plan_loads_nothing_heavy(module: str) -> None:
    heavy = ["torch", "pyarrow", "prefect", "mlflow", "great_expectations", "deepspeed", "dvc", "pandas", "numba"]
    program = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_answers_help_without_loading_the_tools() -> None:
    program = (
        "import sys, flows.command_line; print([n for n in ('torch', 'mlflow', 'prefect', 'dvc') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
