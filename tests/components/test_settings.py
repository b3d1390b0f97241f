from pathlib import Path

import pytest

from components.errors import ParamsError
from components.settings import Settings


def test_the_environment_decides(tmp_path: Path) -> None:
    settings = Settings.from_environment({"STARLOOM_WORKSPACE": str(tmp_path), "STARLOOM_PREFECT_PORT": "4321"})
    assert settings.prefect_api_url == "http://127.0.0.1:4321/api"
    assert settings.artifacts_dir == tmp_path / "artifacts"


def test_settings_reach_a_child_process_unchanged(tmp_path: Path) -> None:
    given = {
        "STARLOOM_WORKSPACE": str(tmp_path),
        "STARLOOM_DVC_REMOTE": "s3://bucket/prefix",
        "STARLOOM_CHECKPOINT_STORE": "s3://bucket/checkpoints",
    }
    settings = Settings.from_environment(given)
    assert Settings.from_environment(settings.environment()) == settings


@pytest.mark.parametrize("port", ["80", "70000", "many"])
def test_a_port_that_cannot_be_is_named_with_its_variable(port: str) -> None:
    with pytest.raises(ParamsError, match=f"STARLOOM_MLFLOW_PORT='{port}' cannot be used"):
        Settings.from_environment({"STARLOOM_MLFLOW_PORT": port})


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3://my.bucket-1/a/deep_prefix"])
def test_a_checkpoint_store_is_a_bucket_and_perhaps_a_prefix(url: str) -> None:
    assert Settings.from_environment({"STARLOOM_CHECKPOINT_STORE": url}).checkpoint_store == url
    assert Settings.from_environment({}).checkpoint_store is None


@pytest.mark.parametrize("url", ["bucket/prefix", "https://bucket/x", "s3://", "s3://Bucket/x", "s3://bucket/a b"])
def test_a_checkpoint_store_that_cannot_be_is_named_with_its_variable(url: str) -> None:
    with pytest.raises(ParamsError) as told:
        Settings.from_environment({"STARLOOM_CHECKPOINT_STORE": url})
    assert str(told.value) == f"STARLOOM_CHECKPOINT_STORE={url!r} cannot be used: give s3://bucket/prefix"


def test_a_password_in_an_address_is_not_told() -> None:
    with pytest.raises(ParamsError) as told:
        Settings.from_environment({"STARLOOM_CHECKPOINT_STORE": "s3://key:secret@bucket/prefix"})
    assert str(told.value).startswith("STARLOOM_CHECKPOINT_STORE='s3://***@bucket/prefix' cannot be used")
