import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import WorkspaceBusyError
from components.settings import Settings
from components.workspace import LOCK_HOLDER_VARIABLE, admitting, exclusive, workspace_id

HOLD = """
import sys
from pathlib import Path
from components.settings import Settings
from components.workspace import exclusive, workspace_id
with exclusive(Settings(workspace=Path(sys.argv[1])), "a test"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(workspace=tmp_path)


@pytest.fixture
def holder(settings: Settings) -> object:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(settings.workspace)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_run_is_refused_and_told_who_holds_the_workspace(settings: Settings, holder: subprocess.Popen) -> None:
    with pytest.raises(WorkspaceBusyError, match=rf"in use by process {holder.pid} \(a test\); wait for it"):
        with exclusive(settings, "mine"):
            pass


def test_a_killed_holder_leaves_the_workspace_free(settings: Settings, holder: subprocess.Popen) -> None:
    holder.kill()
    holder.wait()
    with exclusive(settings, "mine"):
        pass


def test_a_child_of_the_holder_may_enter(settings: Settings) -> None:
    with exclusive(settings, "outer"):
        done = subprocess.run(
            [sys.executable, "-c", HOLD, str(settings.workspace)], input="", capture_output=True, text=True, check=False
        )
        assert done.stdout == "held\n", done.stderr
        with exclusive(settings, "inner"):
            pass


def test_two_workspaces_do_not_meet(settings: Settings, holder: subprocess.Popen, tmp_path: Path) -> None:
    with exclusive(Settings(workspace=tmp_path / "other"), "mine"):
        pass


def hold_as(name: str, settings: Settings) -> subprocess.CompletedProcess[str]:
    """What becomes of a process that bears this name in place of the holder's token."""
    return subprocess.run(
        [sys.executable, "-c", HOLD, str(settings.workspace)],
        input="",
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {LOCK_HOLDER_VARIABLE: name},
    )


def test_a_guest_may_enter_by_its_name_while_it_is_admitted(settings: Settings) -> None:
    with exclusive(settings, "a run"):
        with admitting(settings, "deduplicate-0123456789ab"):
            assert hold_as("deduplicate-0123456789ab", settings).stdout == "held\n"
            assert "in use by" in hold_as("deduplicate-ba9876543210", settings).stderr
        assert "in use by" in hold_as("deduplicate-0123456789ab", settings).stderr
        assert "in use by" in hold_as("", settings).stderr


def test_only_the_holder_admits(settings: Settings, holder: subprocess.Popen) -> None:
    with pytest.raises(WorkspaceBusyError, match=r"in use by process .* \(a test\)"):
        with admitting(settings, "deduplicate-0123456789ab"):
            pass


def test_a_workspace_keeps_its_name_and_another_has_another(tmp_path: Path) -> None:
    mine, other = Settings(workspace=tmp_path / "mine"), Settings(workspace=tmp_path / "other")
    assert workspace_id(mine) == workspace_id(mine)
    assert workspace_id(mine) != workspace_id(other)
