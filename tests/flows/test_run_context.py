import json
import logging
import os
import shutil
from pathlib import Path

import pytest

from components.errors import ParamsError, WorkspaceBusyError
from components.settings import Settings
from components.workspace import LOCK_HOLDER_VARIABLE, exclusive
from flows.run_context import listening, open_run, open_workspace

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(PARAMS, tmp_path)
    monkeypatch.setenv("STARLOOM_WORKSPACE", str(tmp_path))
    monkeypatch.delenv(LOCK_HOLDER_VARIABLE, raising=False)
    return tmp_path


def test_a_run_has_its_parameters_with_the_overrides_applied(workspace: Path):
    with open_run("probe", "params.yaml", ("pretrain.num_steps=77",)) as run:
        assert run.config.pretrain.num_steps == 77
        assert run.settings.workspace == workspace
        assert run.overrides == ("pretrain.num_steps=77",)


def test_a_run_holds_the_workspace_and_lets_it_go(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    settings = Settings.from_environment()
    with open_run("probe", "params.yaml"):
        assert json.loads((workspace / ".starloom" / "lock-holder.json").read_text())["pid"] == os.getpid()
    with exclusive(settings, "after"):
        monkeypatch.delenv(LOCK_HOLDER_VARIABLE)
        with pytest.raises(WorkspaceBusyError, match="after"), open_workspace("probe"):
            pass


def test_an_override_out_of_range_is_refused(workspace: Path):
    with (
        pytest.raises(ParamsError, match=r"pretrain\.num_steps"),
        open_run("p", "params.yaml", ("pretrain.num_steps=-1",)),
    ):
        pass


def test_the_innermost_listener_hears_the_run(workspace: Path):
    outer: list[str] = []
    inner: list[str] = []
    with listening(lambda step, event: outer.append(step)):
        with listening(lambda step, event: inner.append(step)), open_run("probe", "params.yaml") as run:
            run.hear("deduplicate", {"event": "started"})
        with open_run("probe", "params.yaml") as run:
            run.hear("pretrain", {"event": "started"})
    assert (inner, outer) == (["deduplicate"], ["pretrain"])


def test_without_a_listener_nothing_is_told(workspace: Path):
    with open_run("probe", "params.yaml") as run:
        run.hear("deduplicate", {"event": "started"})


@pytest.mark.parametrize("logger", ["prefect.flow_runs", "prefect.task_runs"])
@pytest.mark.parametrize(("fault", "keeps_traceback"), [(ParamsError("mend it"), False), (ValueError("ours"), True)])
def test_only_a_fault_of_ours_keeps_its_traceback_in_the_log(
    workspace: Path, logger: str, fault: Exception, keeps_traceback: bool
):
    with open_workspace("probe"):
        pass
    log = logging.getLogger(logger)
    record = log.makeRecord(logger, logging.ERROR, "run.py", 1, "it failed", (), (type(fault), fault, None))
    assert log.filter(record)
    assert (record.exc_info is not None) is keeps_traceback
