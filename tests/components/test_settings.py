from pathlib import Path

import pytest

from components.errors import ParamsError
from components.settings import Settings


def test_the_environment_decides(tmp_path: Path) -> None:
    settings = Settings.from_environment({"STARLOOM_WORKSPACE": str(tmp_path), "STARLOOM_PREFECT_PORT": "4321"})
    assert settings.prefect_api_url == "http://127.0.0.1:4321/api"
    assert settings.artifacts_dir == tmp_path / "artifacts"


def test_settings_reach_a_child_process_unchanged(tmp_path: Path) -> None:
    given = {"STARLOOM_WORKSPACE": str(tmp_path), "STARLOOM_DVC_REMOTE": "s3://bucket/prefix"}
    settings = Settings.from_environment(given)
    assert Settings.from_environment(settings.environment()) == settings


@pytest.mark.parametrize("port", ["80", "70000", "many"])
def test_a_port_that_cannot_be_is_named_with_its_variable(port: str) -> None:
    with pytest.raises(ParamsError, match=f"STARLOOM_MLFLOW_PORT='{port}' cannot be used"):
        Settings.from_environment({"STARLOOM_MLFLOW_PORT": port})
