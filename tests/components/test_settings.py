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
        "STARLOOM_RANKS": '["python", "-m", "elsewhere"]',
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


@pytest.mark.parametrize("place", ["records", "/mnt/records", "s3://bucket", "s3://my.bucket-1/a/deep_prefix"])
def test_a_record_store_is_a_path_or_in_s3(place: str) -> None:
    assert Settings.from_environment({"STARLOOM_RECORD_STORE": place}).record_store == place


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("STARLOOM_RECORD_STORE", "https://bucket/x", "'https://bucket/x' cannot be used: give s3://bucket/prefix"),
        ("STARLOOM_RECORD_STORE", "s3://key:secret@b/x", "'s3://***@b/x' cannot be used: give s3://bucket/prefix"),
        ("STARLOOM_S3_ENCRYPTION", "aes", "'aes' cannot be used: give AES256, aws:kms or aws:kms:KEY"),
        ("STARLOOM_S3_ENCRYPTION", "aws:kms:", "'aws:kms:' cannot be used: give AES256, aws:kms or aws:kms:KEY"),
    ],
)
def test_a_store_that_cannot_be_is_named_with_its_variable(variable: str, value: str, told: str) -> None:
    with pytest.raises(ParamsError) as caught:
        Settings.from_environment({variable: value})
    assert str(caught.value) == f"{variable}={told}"


@pytest.mark.parametrize(
    "url",
    [
        *("mysql://u:secret@h", "postgresql://h:5432", "postgresql://u:secret@h:5432/mine", "u:secret@h"),
        *("postgresql://u:sec/secret@h", "postgresql://u:secret@h?host=/tmp", "postgresql://u:secret@"),
    ],
)
def test_a_database_that_cannot_be_is_told_without_its_password(url: str) -> None:
    with pytest.raises(ParamsError) as told:
        Settings.from_environment({"STARLOOM_DATABASE_URL": url})
    assert str(told.value).endswith(
        " cannot be used: give postgresql://USER:PASSWORD@HOST:PORT, perhaps with ?sslmode=MODE, in URL escapes"
    )
    assert "secret" not in str(told.value)


def test_the_password_of_the_database_goes_to_no_child_and_no_page() -> None:
    settings = Settings.from_environment({"STARLOOM_DATABASE_URL": "postgresql://u:secret@h:5432?sslmode=verify-full"})
    assert "STARLOOM_DATABASE_URL" not in settings.environment()
    assert "secret" not in f"{settings!r} {settings.model_dump_json()}"
