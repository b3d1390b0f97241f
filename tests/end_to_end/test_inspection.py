"""From collected files to a verdict and on to the filters, by the commands that a reviewer types."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from components.corpus.inspection_table import Inspection, read_inspections, write_inspections
from components.lineage import published_record
from components.settings import Settings
from components.tables import read_dropped, read_files

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def collected(new_workspace: Callable[..., Any]) -> Any:
    """A workspace with raw_files and what filter_quality keeps of them before anybody looked."""
    workspace = new_workspace()
    (workspace.path / "sources" / "stub.pyi").write_text("value: int\n", encoding="utf-8")
    for step in ("ingest_sources", "filter_quality"):
        done = workspace.components(step)
        assert done.returncode == 0, done.stderr
    return workspace


def filtered(workspace: Any) -> tuple[str, dict[str, tuple[str, str]]]:
    """The fingerprint of quality_files, and rule and detail of each path that was dropped."""
    done = workspace.components("filter_quality")
    assert done.returncode == 0, done.stderr
    place = workspace.path / "artifacts" / "quality_files"
    dropped = [row for batch in read_dropped(place) for row in batch.to_pylist()]
    fingerprint = published_record("quality_files", Settings(workspace=workspace.path)).fingerprint
    return fingerprint, {row["path"]: (row["rule"], row["detail"]) for row in dropped}


def served(workspace: Any, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    """`starloom inspect --serve`, and the address that it printed."""
    command = [Path(sys.executable).with_name("starloom"), "inspect", "--serve", *arguments]
    process = subprocess.Popen(
        command,
        cwd=workspace.path,
        env=workspace.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if " at http://" in line:
            return process, line.split()[-1]
    raise AssertionError(process.communicate())


def judge(url: str, **verdict: str) -> None:
    """What the page sends."""
    origin = "/".join(url.split("/")[:3])
    headers = {"Content-Type": "application/json", "Origin": origin}
    request = urllib.request.Request(f"{url}verdicts", json.dumps(verdict).encode(), headers)  # noqa: S310 - our own
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own
        assert answer.status == 200


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_a_verdict_goes_from_the_page_to_the_filters(collected: Any) -> None:
    before, dropped = filtered(collected)
    assert "stub.pyi" not in dropped

    process, url = served(collected, "--reviewer", "Ada", "--files", "3", "--language", "python")
    try:
        with urllib.request.urlopen(url) as page:  # noqa: S310 - our own
            assert b"<title>Visual inspection</title>" in page.read()
        judge(url, language="python", extension=".pyi", verdict="exclude", comment="stubs say nothing")
        judge(url, language="python", extension=".py", verdict="include", max_line_chars="80")
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert "inspection.csv holds 2 verdicts; excluded: python .pyi" in out
    assert "`starloom run`" in out

    after, dropped = filtered(collected)
    assert after != before
    assert dropped["stub.pyi"] == ("extension_excluded", f"Ada {date.today()} stubs say nothing")
    assert {rule for path, (rule, _) in dropped.items() if path.endswith(".py")} == {"max_line_length"}
    kept = {path for batch in read_files(collected.path / "artifacts" / "quality_files", ["path"])
            for path in batch.column("path").to_pylist()}  # fmt: skip
    assert any(path.endswith(".py") for path in kept)
    assert filtered(collected) == (after, dropped)
    told = collected.starloom("why-dropped", "python/cpython", "stub.pyi")
    assert "extension_excluded" in told.stdout


def test_a_page_without_server_and_the_file_it_gives(new_workspace: Callable[..., Any], tmp_path: Path) -> None:
    workspace = new_workspace()
    early = workspace.starloom("inspect")
    assert early.returncode == 2
    assert "raw_files has not been made" in early.stderr
    assert workspace.components("ingest_sources").returncode == 0

    drawn = workspace.starloom("inspect", "--files", "2", "--seed", "3", "--reviewer", "Ada")
    assert drawn.returncode == 0, drawn.stderr
    page = workspace.path / "reports" / "inspection" / "index.html"
    first = page.read_bytes()
    assert str(page) in drawn.stdout
    assert "starloom inspect --take FILE" in drawn.stdout
    again = workspace.starloom("inspect", "--files", "2", "--seed", "3", "--reviewer", "Ada", "--page", "again.html")
    assert (again.returncode, (workspace.path / "again.html").read_bytes()) == (0, first)

    write_inspections(tmp_path / "ada.csv", [Inspection("python", ".py", "unsure", "Ada", "2026-11-20", "hm")])
    taken = workspace.starloom("inspect", "--take", str(tmp_path / "ada.csv"))
    assert (taken.returncode, taken.stderr) == (0, "")
    assert taken.stdout.startswith("Taken: python .py unsure\n")
    [row] = read_inspections(workspace.path / "inspection.csv")
    assert (row.verdict, row.reviewer) == ("unsure", "Ada")
    assert workspace.git("status", "--porcelain", "inspection.csv") == "?? inspection.csv"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--language", "python3"), "--language 'python3' is not known; did you mean python"),
        (("--language", "haskell"), "raw_files holds no file of haskell"),
        (("--files", "0"), "--files 0 cannot be used; write 1 to 1000"),
        (("--take", "nobody.csv"), "there is no file nobody.csv; give the one that the page let you download"),
        (("--page", "."), "--page . cannot be written as a file"),
        (("--port", "70000"), "Invalid value for '--port'"),
    ],
)
def test_a_mistaken_inspection_is_told(collected: Any, arguments: tuple[str, ...], told: str) -> None:
    done = collected.starloom("inspect", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
