"""Data versions with the real Git and the real DVC, on small artifacts with true records."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from dvc.repo import Repo
from moto.server import ThreadedMotoServer

from components.catalog import DATA_ARTIFACTS, step_making
from components.config import PipelineConfig, load_config
from components.errors import CorruptArtifactError, MissingInputError, VersioningError
from components.fingerprint import digest_of
from components.lineage import Provenance, StepRecord, published_record, write_record
from components.settings import Settings
from components.sources.config import ParquetSource
from components.sources.ingest_sources import resolve_sources
from components.sources.read_parquet import list_tables
from components.store import digest_files, digest_of_files, verify_files
from components.versioning import data_version_of, data_versions, record_data_version, rollback_data
from tests.components.storage.s3_servers import remove_bucket
from tests.model.s3_server import fresh_bucket, live_or_moto

ROOT = Path(__file__).parents[2]


def git(workspace: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    done = subprocess.run(["git", "-C", workspace, *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    for name in ("params.yaml", "dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, workspace / name)
    (workspace / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, workspace / ".dvc" / name)
    git(workspace, "init", "--quiet", "--initial-branch", "main")
    git(workspace, "add", "--all")
    git(workspace, "commit", "--quiet", "--message", "a workspace")
    return Settings(workspace=workspace)


@pytest.fixture
def config(settings: Settings) -> PipelineConfig:
    return load_config(settings.workspace / "params.yaml")


@pytest.fixture
def make(settings: Settings, config: PipelineConfig) -> Callable[..., None]:
    """Writes every data artifact with content `text` and a true record; `sources` are what raw_files was read from."""

    def make_all(text: str, sources: Mapping[str, str] | None = None) -> None:
        for name in DATA_ARTIFACTS:
            step, place = step_making(name), settings.artifacts_dir / name
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            (place / "part-00000.bin").write_text(f"{name} {text}")
            files = digest_files(place)
            inputs = {one: published_record(one, settings).reference() for one in step.inputs}
            record = StepRecord(
                step=step.name,
                artifact=name,
                fingerprint=digest_of([name, text]),
                digest=digest_of_files(files),
                sections={step.name: getattr(config, step.name).model_dump(mode="json")},
                inputs=inputs,
                sources={} if name != "raw_files" else dict(sources or {}),
                summary={},
                contract=None,
                files=files,
                provenance=Provenance(
                    commit=None, dirty=None, lock_digest=None, image_digest=None, command=(), host="", started="",
                    ended="", cpu_seconds=0.0,
                ),
            )  # fmt: skip
            write_record(record, place)

    return make_all


def test_a_version_is_a_commit_and_a_tag_and_moves_nothing_else(
    settings: Settings, config: PipelineConfig, make: Callable[[str], None]
) -> None:
    before = git(settings.workspace, "rev-parse", "HEAD")
    make("one")
    version = record_data_version(config, settings)
    assert version.version == "v1"
    assert git(settings.workspace, "rev-parse", "HEAD") == before
    assert git(settings.workspace, "status", "--porcelain", "--untracked-files=no") == ""
    assert git(settings.workspace, "tag", "--list") == "data/v1"
    listed = git(settings.workspace, "ls-tree", "--name-only", "data/v1").split()
    assert {"dvc.lock", "params.yaml", "data_version.json", "dvc.yaml"} <= set(listed)


def test_the_same_data_is_the_same_version(
    settings: Settings, config: PipelineConfig, make: Callable[[str], None]
) -> None:
    make("one")
    first = record_data_version(config, settings)
    assert record_data_version(config, settings) == first
    make("two")
    second = record_data_version(config, settings)
    make("one")
    assert record_data_version(config, settings) == first
    assert [version.version for version in data_versions(settings)] == ["v1", "v2"]
    assert second.version == "v2"


def test_a_rollback_brings_every_byte_back_as_a_new_commit(
    settings: Settings, config: PipelineConfig, make: Callable[[str], None]
) -> None:
    make("one")
    version = record_data_version(config, settings)
    make("two")
    record_data_version(config, settings)
    tip = git(settings.workspace, "rev-parse", "data")
    shutil.rmtree(settings.workspace / ".dvc" / "cache")  # the bytes have to come from the remote
    done = rollback_data("v1", settings)
    assert (settings.artifacts_dir / "token_shards" / "part-00000.bin").read_text() == "token_shards one"
    for name in DATA_ARTIFACTS:
        verify_files(settings.artifacts_dir / name, published_record(name, settings).files)
    assert git(settings.workspace, "rev-parse", "data^") == tip
    assert git(settings.workspace, "rev-parse", "data") == done.commit
    assert git(settings.workspace, "show", "data:data_version.json") == git(
        settings.workspace, "show", "data/v1:data_version.json"
    )
    assert data_version_of(settings) == version
    make("three")
    assert data_version_of(settings) is None


def test_a_rollback_with_a_damaged_remote_changes_nothing(
    settings: Settings, config: PipelineConfig, make: Callable[[str], None]
) -> None:
    make("one")
    record_data_version(config, settings)
    make("two")
    record_data_version(config, settings)
    shutil.rmtree(settings.workspace / ".dvc" / "cache")
    damaged = 0
    for path in (settings.state_dir / "dvc-remote").rglob("*"):
        if path.is_file() and path.read_bytes() == b"clean_files one":
            path.chmod(0o644)
            path.write_bytes(b"clean_files 0ne")
            damaged += 1
    assert damaged == 1
    with pytest.raises((CorruptArtifactError, VersioningError)):
        rollback_data("v1", settings)
    for name in DATA_ARTIFACTS:
        assert (settings.artifacts_dir / name / "part-00000.bin").read_text() == f"{name} two"


def test_a_rollback_says_which_parameters_ask_for_other_data(
    settings: Settings, config: PipelineConfig, make: Callable[[str], None]
) -> None:
    make("one")
    record_data_version(config, settings)
    params = settings.workspace / "params.yaml"
    then = params.read_text()
    params.write_text(then.replace("max_line_length_chars: 1000 ", "max_line_length_chars: 900 "))
    done = rollback_data("v1", settings)
    assert done.params_differences == tuple(
        f"{section}.max_line_length_chars: 1000 in the data, 900 in params.yaml"
        for section in ("filter_quality", "convert_notebooks")
    )
    assert rollback_data("v1", settings, restore_params=True).params_differences == ()
    assert params.read_text() == then
    assert "max_line_length_chars: 900" in (settings.state_dir / "params-before-rollback.yaml").read_text()


def test_dvc_agrees_with_what_was_recorded(
    settings: Settings, config: PipelineConfig, make: Callable[[str], None]
) -> None:
    make("one")
    version = record_data_version(config, settings)
    lock = (settings.workspace / "dvc.lock").read_text()
    for name, artifact in version.artifacts.items():
        assert artifact.dvc_md5.endswith(".dir"), name
        assert artifact.dvc_md5 in lock


def test_what_was_overridden_is_recorded_as_it_was_run(
    settings: Settings, config: PipelineConfig, make: Callable[[str], None]
) -> None:
    make("one")
    other = config.model_copy(update={"split_corpus": config.split_corpus.model_copy(update={"seed": 7})})
    record_data_version(other, settings)
    assert '"seed":7' in git(settings.workspace, "show", "data/v1:params.yaml")


def test_an_unknown_version_is_refused_with_those_there_are(
    settings: Settings, config: PipelineConfig, make: Callable[[str], None]
) -> None:
    with pytest.raises(VersioningError, match="there is no data version 'v1'; the versions are: none yet"):
        rollback_data("v1", settings)
    make("one")
    record_data_version(config, settings)
    with pytest.raises(VersioningError, match="there is no data version 'v9'; the versions are: v1"):
        rollback_data("v9", settings)


def test_data_that_were_not_made_have_no_version(settings: Settings, config: PipelineConfig) -> None:
    with pytest.raises(MissingInputError, match="opt_outs has not been made yet"):
        record_data_version(config, settings)


def test_a_workspace_outside_git_is_told(
    settings: Settings, config: PipelineConfig, make: Callable[[str], None]
) -> None:
    make("one")
    shutil.rmtree(settings.workspace / ".git")
    with pytest.raises(VersioningError, match="a workspace is a Git repository"):
        record_data_version(config, settings)


@pytest.mark.parametrize("option", ["version_aware", "worktree"])
def test_a_remote_from_which_nothing_comes_back_is_refused(
    settings: Settings, config: PipelineConfig, make: Callable[..., None], option: str
) -> None:
    make("one")
    with (settings.workspace / ".dvc" / "config").open("a") as file:
        file.write(f"    {option} = true\n")
    on_s3 = settings.model_copy(update={"dvc_remote": "s3://nobody-is-asked/data"})
    with pytest.raises(VersioningError, match=f"DVC's remote 'storage' is set to {option}, from which no older data"):
        record_data_version(config, on_s3)
    assert data_versions(settings) == []


def test_the_remote_may_be_s3(
    settings: Settings, config: PipelineConfig, make: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        import boto3  # noqa: PLC0415 - reads the environment set above

        boto3.client("s3").create_bucket(Bucket="starloom")
        on_s3 = settings.model_copy(update={"dvc_remote": "s3://starloom/data"})
        make("one")
        record_data_version(config, on_s3)
        make("two")
        record_data_version(config, on_s3)
        shutil.rmtree(settings.workspace / ".dvc" / "cache")
        rollback_data("v1", on_s3)
        assert (settings.artifacts_dir / "clean_files" / "part-00000.bin").read_text() == "clean_files one"
    finally:
        server.stop()


def test_what_was_pinned_in_s3_belongs_to_the_version(
    settings: Settings, config: PipelineConfig, make: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = settings.workspace / "pins" / "stack.dvc"
    source = ParquetSource(kind="parquet", name="s", path="pins/stack.dvc", repository="o/r", license=None, exclude=())
    ingest = config.ingest_sources.model_copy(update={"sources": (source,)})
    config = config.model_copy(update={"ingest_sources": ingest})
    with live_or_moto() as running:
        s3 = fresh_bucket(running)
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        s3.client.put_bucket_versioning(Bucket=s3.bucket, VersioningConfiguration={"Status": "Enabled"})
        table = {"Bucket": s3.bucket, "Key": "stack/a.parquet"}
        s3.client.put_object(**table, Body=b"the first")
        pin.parent.mkdir()
        with Repo(str(settings.workspace)) as repo:
            repo.imp_url(f"s3://{s3.bucket}/stack", str(pin.with_suffix("")), version_aware=True, no_download=True)
        first = pin.read_bytes()
        make("one", resolve_sources(ingest, settings.workspace))
        assert record_data_version(config, settings).pins == ("pins/stack.dvc",)
        assert git(settings.workspace, "show", "data/v1:pins/stack.dvc") == first.decode().strip()

        s3.client.put_object(**table, Body=b"the second")
        with Repo(str(settings.workspace)) as repo:
            repo.update([str(pin)], no_download=True)
        second = pin.read_bytes()
        make("two")
        with pytest.raises(VersioningError, match=r"stack\.dvc pins other objects than raw_files was made from; run"):
            record_data_version(config, settings)
        make("two", resolve_sources(ingest, settings.workspace))
        record_data_version(config, settings)

        told = "pins/stack.dvc: the data were read by the pin of their version, which is another"
        assert told in rollback_data("v1", settings).params_differences
        assert pin.read_bytes() == second
        assert told not in rollback_data("v1", settings, restore_params=True).params_differences
        assert pin.read_bytes() == first
        assert (settings.state_dir / "pins-before-rollback" / "pins" / "stack.dvc").read_bytes() == second
        with list_tables(source, pin)[0].open() as stream:
            assert stream.read() == b"the first"
        assert git(settings.workspace, "show", "data:pins/stack.dvc") == first.decode().strip()
        remove_bucket(s3.client, s3.bucket)
