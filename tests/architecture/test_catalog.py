"""The catalog is the architecture: every row resolves; signature, params section and DVC stage agree with it."""

import importlib
import inspect
from pathlib import Path
from typing import Any

import grimp
import pytest
from ruamel.yaml import YAML

from components.catalog import DATA_ARTIFACTS, STEPS, step_making, step_named, steps_toward
from components.config import PipelineConfig, load_config
from components.section import Summary
from components.step import Step

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_is_one_plain_function_with_the_artifacts_as_keywords(step: Step) -> None:
    module = importlib.import_module(step.module)
    expected = {*step.inputs, *step.sections, "out"}
    expected |= {"workspace"} if step.reads_sources else set()
    expected |= {"work_dir"} if step.resumable else set()
    expected |= {"checkpoint_store", "ranks"} if step.has_ranks else set()
    parameters = inspect.signature(module.run).parameters.values()
    assert {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY} == expected
    assert issubclass(inspect.signature(module.run).return_annotation, Summary)
    assert module.__doc__


def test_the_steps_that_work_in_pieces_are_those_whose_module_reaches_the_runner() -> None:
    graph = grimp.build_graph("components", "data_contracts", "model")
    reaching = {step.name for step in STEPS if graph.chain_exists(step.module, "components.runner")}
    assert reaching == {step.name for step in STEPS if step.in_pieces}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_takes_the_config_of_its_section(step: Step) -> None:
    run = importlib.import_module(step.module).run
    config = next(iter(inspect.signature(run).parameters.values()))
    assert config.annotation is PipelineConfig.model_fields[step.name].annotation


def test_inputs_are_made_by_earlier_rows() -> None:
    made: set[str] = set()
    for step in STEPS:
        assert set(step.inputs) <= made
        made.add(step.output)
    assert len(made) == len(STEPS)


def test_sections_stand_in_the_order_of_the_catalog() -> None:
    names = [name for name in PipelineConfig.model_fields if name in {step.name for step in STEPS}]
    assert names == [step.name for step in STEPS]


def test_data_artifacts_are_all_before_training() -> None:
    assert DATA_ARTIFACTS[0] == "opt_outs"
    assert DATA_ARTIFACTS[-1] == "dataset_card"


def test_steps_toward_an_artifact_come_upstream_first_and_only_those() -> None:
    assert [step.name for step in steps_toward("quality_files")] == [
        "collect_opt_outs",
        "ingest_sources",
        "filter_quality",
    ]
    assert set(STEPS) - set(steps_toward("eval_report")) == {step_making("dataset_card")}


@pytest.mark.parametrize("lookup", [step_named, step_making, steps_toward])
def test_an_unknown_name_is_refused_with_those_there_are(lookup: Any) -> None:
    with pytest.raises(KeyError, match=r"deduplicat|unique_files"):
        lookup("nonsense")


def test_dvc_yaml_says_what_the_catalog_says() -> None:
    stages: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    assert list(stages) == [step.name for step in STEPS]
    for step in STEPS:
        expected: dict[str, Any] = {
            "cmd": f"python -m components {step.name}",
            "params": [step.name, *step.sections],
            "outs": [{f"artifacts/{step.output}": {"persist": True}}],
        }
        if step.inputs:
            expected["deps"] = [f"artifacts/{name}" for name in step.inputs]
        if step.reads_sources:
            expected["always_changed"] = True
        assert stages[step.name] == expected


@pytest.mark.parametrize(
    "path", [ROOT / "params.yaml", *sorted((ROOT / "params").glob("*.yaml"))], ids=lambda p: p.name
)
def test_every_parameter_file_is_accepted(path: Path) -> None:
    assert load_config(path).pretrain.global_batch_size >= 1


def test_the_catalog_module_tells_every_artifact() -> None:
    told = importlib.import_module("components.catalog").__doc__ or ""
    assert [step.output for step in STEPS if step.output not in told] == []
