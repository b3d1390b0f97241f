import json
import os
import subprocess
import sys
from typing import Any

import pytest
from ruamel.yaml import YAML

from components.catalog import step_named
from components.errors import PreemptedError, StarloomError
from components.settings import Settings
from components.workspace import LOCK_HOLDER_VARIABLE, exclusive
from flows.materialize import StepFaultError, failure_of
from flows.services import prefect_environment
from k8s.request import Cancelled, Failed

CALL = """
import json, sys, tiny_flows
from components.errors import StarloomError
from flows.run_context import listening

def tell(*told):
    print("TOLD " + json.dumps(told), flush=True)

with listening(lambda step, event: tell("heard", step, event["event"])):
    try:
        tell("returned", getattr(tiny_flows, sys.argv[1])(json.loads(sys.argv[2])))
    except StarloomError as error:
        tell("raised", type(error).__name__, str(error))
"""


def call(house: Any, settings: Settings, flow: str, argument: Any) -> list[Any]:
    """Run a flow of tiny_flows in a process of its own, against the house's server; what it told."""
    environment = os.environ | settings.environment() | prefect_environment(house.settings)
    environment.pop(LOCK_HOLDER_VARIABLE, None)
    done = subprocess.run(
        [sys.executable, "-c", CALL, flow, json.dumps(argument)],
        cwd=settings.workspace,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    told = [json.loads(line.removeprefix("TOLD ")) for line in done.stdout.splitlines() if line.startswith("TOLD ")]
    assert done.returncode == 0, done.stderr
    assert told[-1][0] != "raised" or "Traceback" not in done.stderr
    return told


def heard(told: list[Any], *kinds: str) -> list[tuple[str, str]]:
    return [(step, kind) for what, *(step, kind) in (line for line in told if line[0] == "heard") if kind in kinds]


@pytest.fixture
def tiny(other_settings: Settings) -> Settings:
    """A workspace whose only source is three files of its own."""
    sources = other_settings.workspace / "sources"
    sources.mkdir()
    for number in range(3):
        (sources / f"module_{number}.py").write_text(f"def add_{number}(x):\n    return x + {number}\n")
    take_sources_from(other_settings, "sources")
    return other_settings


def take_sources_from(settings: Settings, path: str) -> None:
    yaml = YAML()
    params = settings.workspace / "params.yaml"
    content: Any = yaml.load(params.read_text())
    content["ingest_sources"]["sources"] = [
        {"name": "tiny", "kind": "directory", "path": path, "repository": "tiny/tiny", "license": "MIT", "exclude": []}
    ]
    with params.open("w") as stream:
        yaml.dump(content, stream)


def finished_tasks(house: Any) -> dict[str, Any] | None:
    """The tasks of the only run of the flow `make` so far, by step; None before the server has heard of both."""
    runs = house.ask("POST", "task_runs/filter", {"flows": {"name": {"any_": ["make"]}}}).json()
    found = {
        run["name"].rpartition("-")[0]: {
            "id": run["id"],
            "waited_for": {one["id"] for one in run["task_inputs"].get("wait_for", [])},
        }
        for run in runs
        if run["state_type"] == "COMPLETED"
    }
    return found if {"ingest_sources", "filter_quality"} <= set(found) else None


@pytest.mark.slow
def test_steps_are_tasks_in_order_then_reused_and_a_corrupt_byte_is_found(house: Any, tiny: Settings):
    first = call(house, tiny, "make", "quality_files")
    assert heard(first, "started", "record", "reused") == [
        ("collect_opt_outs", "started"),
        ("collect_opt_outs", "record"),
        ("ingest_sources", "started"),
        ("ingest_sources", "record"),
        ("filter_quality", "started"),
        ("filter_quality", "record"),
    ]
    assert ("ingest_sources", "progress") in heard(first, "progress")
    what, digests = first[-1]
    assert what == "returned"
    assert list(digests) == ["opt_outs", "raw_files", "quality_files"]
    page = house.until(lambda: finished_tasks(house), 60)
    assert page["ingest_sources"]["id"] in page["filter_quality"]["waited_for"]

    again = call(house, tiny, "make", "quality_files")
    assert heard(again, "record", "reused") == [
        (step, "reused") for step in ("collect_opt_outs", "ingest_sources", "filter_quality")
    ]
    assert again[-1] == ["returned", digests]

    shard = next((tiny.artifacts_dir / "raw_files").glob("files-*.parquet"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    what, kind, sentence = call(house, tiny, "make", "quality_files")[-1]
    assert (what, kind) == ("raised", "CorruptArtifactError")
    assert shard.name in sentence


def progress_artifacts(house: Any) -> list[dict[str, Any]]:
    """What the server has of the flow `tell_progress`, oldest first."""
    wanted = {"artifacts": {"key": {"any_": ["a-training-progress"]}}, "sort": "CREATED_DESC"}
    return house.ask("POST", "artifacts/filter", wanted).json()[::-1]


def test_the_page_of_a_run_shows_how_far_a_training_is(house: Any, other_settings: Settings):
    before = len(progress_artifacts(house))
    assert call(house, other_settings, "tell_progress", False)[-1] == ["returned", "trained"]
    (shown,) = progress_artifacts(house)[before:]
    assert (shown["type"], shown["data"]) == ("progress", 100.0)
    assert shown["task_run_id"]
    assert shown["description"].split("\n\n") == [
        *("a_training: 4 of 4 steps", "loss 0.000, tokens/s 1,234", "python 1.500"),
    ]


def test_a_server_that_is_gone_stops_no_training(house: Any, other_settings: Settings):
    before = len(progress_artifacts(house))
    assert call(house, other_settings, "tell_progress", True)[-1] == ["returned", "trained"]
    (shown,) = progress_artifacts(house)[before:]
    assert shown["data"] == 25.0  # two more came at once, too early to be sent, and the last could not be


def test_a_mistake_of_a_person_in_a_step_is_raised_as_its_sentence(house: Any, tiny: Settings):
    take_sources_from(tiny, "no-such-directory")
    told = call(house, tiny, "make", "quality_files")
    what, kind, sentence = told[-1]
    assert (what, kind) == ("raised", "SourceError")
    assert "no-such-directory" in sentence
    assert ("filter_quality", "started") not in heard(told, "started")


def test_a_step_alone_needs_its_inputs_and_names_who_makes_them(house: Any, tiny: Settings):
    what, kind, sentence = call(house, tiny, "make_alone", "evaluate_model")[-1]
    assert (what, kind) == ("raised", "MissingInputError")
    assert "export_weights" in sentence


def test_a_second_run_in_a_workspace_is_refused(house: Any, tiny: Settings):
    with exclusive(tiny, "the first run"):
        what, kind, sentence = call(house, tiny, "make", "raw_files")[-1]
    assert (what, kind) == ("raised", "WorkspaceBusyError")
    assert "the first run" in sentence


def test_what_was_preempted_is_tried_again(house: Any, tiny: Settings):
    assert call(house, tiny, "give_way", 2)[-1] == ["returned", 3]


STEP = step_named("pretrain")


def test_a_preempted_step_asks_to_be_run_again():
    assert isinstance(failure_of(STEP, Failed(75, ())), PreemptedError)


@pytest.mark.parametrize("exit_code", [137, 143])
def test_a_step_ended_from_outside_can_be_mended_by_its_reader(exit_code: int):
    failure = failure_of(STEP, Failed(exit_code, ()))
    assert type(failure) is StarloomError
    assert "memory" in str(failure)


@pytest.mark.parametrize("exit_code", [1, 139])
def test_any_other_end_is_a_fault_of_ours_and_keeps_its_last_lines(exit_code: int):
    failure = failure_of(STEP, Failed(exit_code, ("Traceback", "ValueError: 3")))
    assert isinstance(failure, StepFaultError)
    assert f"exit code {exit_code}" in str(failure)
    assert str(failure).endswith("Traceback\nValueError: 3")


def test_a_cancelled_step_is_no_success():
    assert isinstance(failure_of(STEP, Cancelled()), StepFaultError)
