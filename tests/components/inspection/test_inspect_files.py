"""An inspection as a whole: what it needs, what it says, and the way of a verdict to the filters."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.catalog import step_named
from components.corpus.filter_quality import resolve_sources
from components.corpus.inspection_table import Inspection, write_inspections
from components.errors import EmptyArtifactError, MissingInputError, ParamsError, ServiceError, SourceError
from components.fingerprint import fingerprint_of
from components.inspection.inspect_files import InspectionRequest, inspect_files, serve_verdicts, take_verdicts
from components.inspection.verdict_server import VerdictServer
from components.lineage import Provenance, StepRecord, write_record
from components.settings import Settings
from components.store import digest_files, digest_of_files

ROWS = [
    *({"path": f"src/{number}.py", "content": f"value_{number} = {number}\n"} for number in range(12)),
    {"path": "src/a.pyi", "extension": ".pyi", "content": "v: int\n"},
    {"path": "a.adb", "language": "ada", "extension": ".adb", "content": "begin null; end;\n"},
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A workspace in which nothing has been made."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    return Settings(workspace=workspace, workers=1)


@pytest.fixture
def collected(settings: Settings, table_of: Any) -> Settings:
    """A workspace whose raw_files hold ROWS."""
    publish(table_of(ROWS), settings)
    return settings


def publish(table: Path, settings: Settings) -> None:
    """Put a table of files where raw_files stands, with a record."""
    place = settings.artifacts_dir / "raw_files"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(table, place)
    files = digest_files(place)
    provenance = Provenance(
        commit=None, dirty=None, lock_digest=None, image_digest=None, command=(), host="", started="", ended="",
        cpu_seconds=0.0,
    )  # fmt: skip
    record = StepRecord(
        step="ingest_sources", artifact="raw_files", fingerprint="0", digest=digest_of_files(files), sections={},
        inputs={}, sources={}, summary={}, contract=None, files=files, provenance=provenance,
    )  # fmt: skip
    write_record(record, place)


def test_files_are_drawn_from_what_is_published_and_the_page_says_how_many(collected: Settings, config_of: Any) -> None:
    write_inspections(collected.workspace / "inspection.csv", [Inspection("python", ".pyi", "unsure")])
    inspected = inspect_files(config_of(), InspectionRequest(files_per_extension=5, reviewer="Ada"), collected)

    page = collected.reports_dir / "inspection" / "index.html"
    assert inspected.page == page
    assert inspected.endings == {("python", ".py"), ("python", ".pyi"), ("ada", ".adb")}
    first, second, *rest = inspected.told(is_served=False).splitlines()
    assert first.startswith(f"{page}: 7 files of 3 endings in 2 languages, 0.")
    assert second == f"Judged: 1 of 2 endings whose language is taken, in {collected.workspace / 'inspection.csv'}"
    assert "starloom inspect --take FILE" in rest[0]
    assert inspected.told(is_served=True).splitlines() == [first, second]
    assert sorted(path.name for path in collected.workspace.iterdir()) == ["artifacts", "inspection.csv", "reports"]


def test_equal_requests_give_equal_pages_and_a_seed_its_own(
    collected: Settings, config_of: Any, tmp_path: Path
) -> None:
    def page(name: str, **asked: Any) -> bytes:
        request = InspectionRequest(files_per_extension=3, page=tmp_path / name, reviewer="Ada", **asked)
        return inspect_files(config_of(seed=7), request, collected).page.read_bytes()

    assert page("a.html") == page("b.html") == page("c.html", seed=7)
    assert page("d.html", seed=8) != page("a.html")


def test_without_raw_files_the_step_is_named_that_makes_them(settings: Settings, config_of: Any) -> None:
    with pytest.raises(
        MissingInputError, match=r"raw_files has not been made .* run `python -m components ingest_sources`"
    ):
        inspect_files(config_of(), InspectionRequest(), settings)


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (InspectionRequest(frozenset({"python3"})), r"--language 'python3' is not known; did you mean python"),
        (InspectionRequest(frozenset({"\x1b[2J"})), r"--language '\\x1b\[2J' is not known; write it as"),
        (InspectionRequest(files_per_extension=0), "--files 0 cannot be used; write 1 to 1000"),
        (InspectionRequest(files_per_extension=1001), "--files 1001 cannot be used; write 1 to 1000"),
        (InspectionRequest(page=Path("/")), "--page / cannot be written as a file"),
        (InspectionRequest(page=Path(__file__) / "page.html"), r"--page .*test_inspect_files\.py/page\.html cannot be"),
    ],
)
def test_a_request_that_cannot_be_is_told(
    collected: Settings, config_of: Any, request_: InspectionRequest, told: str
) -> None:
    with pytest.raises(ParamsError, match=told):
        inspect_files(config_of(), request_, collected)


def test_a_language_that_is_known_and_not_there_is_told(collected: Settings, config_of: Any) -> None:
    with pytest.raises(EmptyArtifactError, match="raw_files holds no file of haskell, perl"):
        inspect_files(config_of(), InspectionRequest(frozenset({"perl", "haskell"})), collected)


def test_a_table_that_no_step_reads_takes_no_verdicts(collected: Settings, config_of: Any, tmp_path: Path) -> None:
    for act in (
        lambda config: inspect_files(config, InspectionRequest(), collected),
        lambda config: take_verdicts(tmp_path / "x.csv", config, collected),
    ):
        with pytest.raises(ParamsError, match="inspection_file is null, so no step would read a verdict"):
            act(config_of(inspection_file=None))


def test_a_wrong_table_is_told_with_its_line(collected: Settings, config_of: Any) -> None:
    (collected.workspace / "inspection.csv").write_text("language,extension,verdict\npython,.py,nice\n", "utf-8")
    with pytest.raises(SourceError, match=r"inspection\.csv line 2 has the verdict 'nice'; write include"):
        inspect_files(config_of(), InspectionRequest(), collected)
    assert not collected.reports_dir.exists()


def test_the_reviewer_is_who_commits_here(collected: Settings, config_of: Any) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(collected.workspace), *arguments], check=True)

    git("init", "--quiet")
    git("config", "user.name", "Grace H.")
    assert inspect_files(config_of(), InspectionRequest(), collected).reviewer == "Grace H."
    assert inspect_files(config_of(), InspectionRequest(reviewer="Ada"), collected).reviewer == "Ada"


def test_a_port_that_is_taken_is_told_before_anybody_is_sent_there(collected: Settings, config_of: Any) -> None:
    inspected = inspect_files(config_of(), InspectionRequest(reviewer="Ada"), collected)
    told: list[str] = []
    with VerdictServer(inspected.page, inspected.table, inspected.endings, "Ada") as server:
        with pytest.raises(ServiceError, match="is in use"):
            serve_verdicts(inspected, server.server_port, told.append)
    assert told == []


def test_downloaded_verdicts_are_taken_and_told(settings: Settings, config_of: Any, tmp_path: Path) -> None:
    write_inspections(settings.workspace / "inspection.csv", [Inspection("c", ".c", "include", "Ada", "2026-11-23")])
    found = [
        Inspection("c", ".c", "exclude", "Bob", "2026-11-20"),
        Inspection("python", "", "exclude", "Bob", "2026-11-20"),
    ]
    write_inspections(tmp_path / "bob.csv", found)

    told = take_verdicts(tmp_path / "bob.csv", config_of(), settings).splitlines()
    assert told[:2] == [
        "Taken: python (no ending) exclude",
        "Passed over: c .c, whose verdict in the table is of a later day",
    ]
    assert told[2].endswith("inspection.csv holds 2 verdicts; excluded: python (no ending)")


def test_a_verdict_changes_the_fingerprint_of_filter_quality(
    settings: Settings, config_of: Any, tmp_path: Path
) -> None:
    step, config = step_named("filter_quality"), config_of()
    section = {"filter_quality": json.loads(config.model_dump_json())}

    def fingerprint() -> str:
        return fingerprint_of(step, section, {"raw_files": "0"}, resolve_sources(config, settings.workspace))

    before = fingerprint()
    write_inspections(tmp_path / "bob.csv", [Inspection("python", ".py", "exclude", "Bob", "2026-11-20")])
    take_verdicts(tmp_path / "bob.csv", config, settings)
    assert fingerprint() != before
