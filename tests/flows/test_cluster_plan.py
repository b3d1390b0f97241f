"""`starloom run --profile`: what a dry run tells, and what is refused. No cluster, nothing started."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from components.catalog import step_named
from components.config import PipelineConfig, load_config
from components.planning.placement import place_layout
from components.settings import Settings
from flows.cluster_plan import gang_of
from flows.command_line import main
from flows.corpus_on_ray import recipe_name
from k8s.profile import load_profile
from tests.k8s.gangs import GANGS

ROOT = Path(__file__).parents[2]
REFERENCE = "params/starcoderbase-15b.yaml"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Parameter files and nothing else."""
    monkeypatch.setenv("STARLOOM_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "params", tmp_path / "params")
    return tmp_path


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def reference() -> PipelineConfig:
    return load_config(ROOT / REFERENCE)


def test_the_dry_run_of_the_reference_tells_memory_time_placement_and_manifests(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("run", "--params", REFERENCE, "--profile", "a100-64x8", "--dry-run") == 0
    plan, _, text = capsys.readouterr().out.partition("\n---\n")
    for told in ("Memory of one device", "25.6 to 28.8 days", "TP4 PP4 DP32 SP", "Placement of 512 ranks on 64 pods"):
        assert told in plan, told
    rows = [line.strip("│ ").split(" │ ") for line in plan.splitlines() if line.startswith("│")]
    placed = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
    assert placed["1"] == ["16", "128-135", "1", "0-1"]
    assert placed["63"] == ["63", "504-511", "3", "30-31"]
    gang, corpus_step = YAML(typ="safe", pure=True).load_all(text)
    assert gang["kind"] == "JobSet"
    assert corpus_step["kind"] == "RayJob"
    assert corpus_step["metadata"]["name"].startswith("deduplicate-")
    assert corpus_step["spec"]["entrypoint"] == f"python -m components deduplicate --params {REFERENCE}"
    (told,) = [line for line in plan.splitlines() if line.startswith("On Ray, each as a RayJob")]
    assert "ingest_issues, filter_quality" in " ".join(plan.split())
    assert "deduplicate" in told
    assert not (workspace / ".starloom").exists()


def test_the_reference_asks_for_the_gang_of_the_golden_file() -> None:
    config, profile = reference(), load_profile("a100-64x8")
    golden = GANGS["a100-64x8"]
    assert (
        gang_of(config.pretrain.threads_per_process, profile, place_layout(config.pretrain.layout, 8), golden.name)
        == golden
    )


def test_a_gang_of_processors_asks_deepspeed_for_no_gpu() -> None:
    layout = {"data": 2, "pipeline": 2}
    config = load_config(ROOT / "params.yaml", [f"pretrain.layout.{key}={value}" for key, value in layout.items()])
    placement = place_layout(config.pretrain.layout, 1)
    golden = GANGS["kind-cpu"]
    assert gang_of(config.pretrain.threads_per_process, load_profile("kind-cpu"), placement, golden.name) == golden


def test_the_name_is_that_of_the_recipe(workspace: Path) -> None:
    settings = Settings.from_environment()
    step = step_named("pretrain")
    name = recipe_name(step, reference(), settings)
    assert name.startswith("pretrain-")
    assert name == recipe_name(step, reference(), settings)
    assert name != recipe_name(step, load_config(ROOT / REFERENCE, ["pretrain.seed=7"]), settings)


def test_the_small_run_fits_a_cluster_of_processors(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    yaml = YAML()
    params: Any = yaml.load((workspace / "params.yaml").read_text(encoding="utf-8"))
    params["pretrain"]["layout"].update(data=4)
    params["pretrain"].update(accumulation_steps=1)
    with (workspace / "params.yaml").open("w", encoding="utf-8") as stream:
        yaml.dump(params, stream)
    assert exit_code("run", "--profile", "kind-cpu", "--dry-run") == 0
    plan, _, text = capsys.readouterr().out.partition("\n---\n")
    assert "GB of 2.1" in plan  # a pod's memory
    kinds = [manifest["kind"] for manifest in YAML(typ="safe", pure=True).load_all(text)]
    assert kinds == ["Service", "Job"]
    assert "This is no gang" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--profile", "nonsense", "--dry-run"), "--profile: there is no profile nonsense; there are a100-64x8"),
        (("--profile", "nonsense"), "--profile: there is no profile nonsense; there are a100-64x8"),
        (("--profile", "local", "--dry-run"), "--profile local: it describes no cluster; give it a `cluster` section"),
        (("--dry-run",), "--profile local: it describes no cluster; give it a `cluster` section"),
        (
            ("--profile", "h100-8x8", "--dry-run", "--params", REFERENCE),
            "pretrain.layout cannot run on h100-8x8: tensor 4 x pipeline 4 x data 32 takes 512 devices, h100-8x8 has "
            "64; the nearest that fits is TP2 PP2 DP16 SP",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(
    workspace: Path, arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("run", *arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {told}")
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not (workspace / ".starloom").exists()


def test_gangs_of_two_workspaces_are_two_though_their_recipe_is_one() -> None:
    placement = place_layout(load_config(ROOT / "params.yaml").pretrain.layout, 1)
    one, other = (gang_of(1, load_profile("kind-cpu"), placement, "pretrain-0", owner) for owner in ("one", "other"))
    assert one.name == other.name
    assert one != other  # so the launcher refuses the one where the other is at work
