"""`starloom plan`, and the run that is refused before anything starts."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from components.config import load_config
from components.errors import ParamsError
from components.planning.run_cost import DeviceCosts
from components.settings import DEVICE_COSTS_VARIABLE, Settings
from flows.command_line import main
from flows.plan_run import cost_environment, hardware_of, plan_run, refuse_what_cannot_run
from k8s.profile import load_profile, profile_names

ROOT = Path(__file__).parents[2]
ParamsOf = Callable[..., Path]


@pytest.fixture
def params_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ParamsOf:
    """Call it with sections and their changes: it writes a workspace's params.yaml from the small run's."""
    monkeypatch.setenv("STARLOOM_WORKSPACE", str(tmp_path))

    def write(**sections: dict[str, Any]) -> Path:
        yaml = YAML()
        content: Any = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        for name, changes in sections.items():
            content[name].update(changes)
        path = tmp_path / "params.yaml"
        with path.open("w", encoding="utf-8") as stream:
            yaml.dump(content, stream)
        return path

    return write


STARCODERBASE: dict[str, dict[str, Any]] = {
    "train_tokenizer": {"vocab_size": 49_152},
    "model": {
        "num_layers": 40,
        "hidden_size": 6144,
        "num_heads": 48,
        "feed_forward_size": 24_576,
        "context_length_tokens": 8192,
    },
    "pretrain": {
        "layout": {"data": 32, "tensor": 4, "pipeline": 4, "sequence_parallel": True, "zero_stage": 1},
        "precision": "bf16",
        "micro_batch_size": 1,
        "accumulation_steps": 16,
        "num_steps": 250_000,
    },
}


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_the_small_run_fits_this_machine(params_of: ParamsOf) -> None:
    config = load_config(params_of())
    refuse_what_cannot_run(config, ROOT, load_profile("local"))
    plan, hardware = plan_run(config, load_profile("local"))
    assert plan.asked.refusals == ()
    assert hardware.num_devices == config.pretrain.layout.world_size


@pytest.mark.parametrize("pool", profile_names())
def test_every_profile_becomes_hardware(pool: str) -> None:
    hardware = hardware_of(load_profile(pool), ranks=4)
    assert hardware.kind.memory_bytes > 0
    assert hardware.network_bytes_per_second > 0


def test_the_command_tells_the_plan(params_of: ParamsOf, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params_of(**STARCODERBASE)
    page = tmp_path / "plan.html"
    assert exit_code("plan", "--pool", "a100-64x8", "--html", str(page)) == 0
    told = capsys.readouterr().out
    for line in ("15,517,456,384", "27.7% to 31.1%", "25.6 to 28.8 days", "TP4 PP4 DP32 SP, micro 1", "stage 3"):
        assert line in told, line
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_layout_that_does_not_fit_ends_with_1(params_of: ParamsOf, capsys: pytest.CaptureFixture[str]) -> None:
    params_of(**STARCODERBASE)
    assert exit_code("plan", "--pool", "h100-8x8") == 1
    assert "takes 512 devices, h100-8x8 has 64" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("plan", "--pool", "nonsense"), "error: --pool: there is no profile nonsense; there are a100-64x8"),
        (("plan", "elsewhere.yaml"), "error: there is no parameter file"),
        (("plan", "--html", "/nowhere/plan.html"), "error: --html /nowhere/plan.html cannot be written"),
    ],
)
def test_a_mistake_is_one_sentence(
    params_of: ParamsOf, arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    params_of()
    assert exit_code(*arguments) == 2
    assert capsys.readouterr().err.startswith(told)


def test_a_run_that_cannot_fit_is_refused_before_services_start(params_of: ParamsOf, tmp_path: Path) -> None:
    too_large = STARCODERBASE | {
        "pretrain": {"layout": {"data": 1, "tensor": 1, "pipeline": 1, "sequence_parallel": False, "zero_stage": 1}}
    }
    params_of(**too_large)
    program = "from flows.command_line import main; main(['run'])"  # its own process: it sets Prefect's environment
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: pretrain.layout cannot run on local: a device needs")
    assert not (tmp_path / ".starloom").exists()


def test_a_run_whose_layout_does_not_divide_is_refused(params_of: ParamsOf) -> None:
    layout = {"data": 1, "tensor": 1, "pipeline": 4, "sequence_parallel": False, "zero_stage": 1}
    config = load_config(params_of(pretrain={"layout": layout}))
    with pytest.raises(
        ParamsError, match=r"pipeline 4 has more stages than model\.num_layers 3; the nearest that fits"
    ):
        refuse_what_cannot_run(config, ROOT, load_profile("local"))


def test_a_device_that_nobody_knows_is_named(tmp_path: Path) -> None:
    profile = load_profile("local").model_copy(update={"device": "abacus"})
    with pytest.raises(ParamsError, match="device 'abacus' is none of a100-80gb, h100-80gb, cpu-core"):
        hardware_of(profile, ranks=1)


def test_what_a_device_hour_costs_reaches_a_step(tmp_path: Path) -> None:
    told = cost_environment(load_profile("a100-64x8"))
    settings = Settings.from_environment({"STARLOOM_WORKSPACE": str(tmp_path), **told})
    assert settings.device_costs == DeviceCosts(
        pool="a100-64x8",
        device="a100-80gb",
        price_per_hour_usd=5.12,
        watts=280,
        power_usage_effectiveness=1.2,
        carbon_kg_per_kwh=0.15495,
    )
    assert Settings.from_environment(settings.environment()) == settings
    assert set(told) == {DEVICE_COSTS_VARIABLE}
