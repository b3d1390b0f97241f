import pytest
import torch

from model.device_peaks import A100, H100, peak_of
from model.model_size import forward_flops_per_token
from model.utilization import Utilization, peak_flops_per_second, utilization_of
from tests.model.layout_rank import config_of, model_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("gpu", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", A100),
        ("NVIDIA H100 80GB HBM3", H100),
        ("NVIDIA H200", H100),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_the_peak_is_the_data_sheets_of_the_very_card(gpu, peak):
    assert peak_of(gpu) is peak


def test_half_of_the_time_is_half_of_the_utilization():
    told = Utilization(flops_per_token=6e9, peak_flops_per_second=2 * 312e12)
    assert told.rates(52_000.0)["model_flops_utilization"] == pytest.approx(0.5)
    assert told.rates(26_000.0) == pytest.approx({"model_flops_per_second": 156e12, "model_flops_utilization": 0.25})


def test_without_a_peak_only_the_rate_is_told():
    assert Utilization(6e9, None).rates(10.0) == {"model_flops_per_second": 6e10}


def test_a_processors_peak_is_measured():
    assert 1e8 < (peak_flops_per_second(CPU, config_of({})) or 0) < 1e15


def test_operations_are_the_planners_and_the_peak_is_that_of_all_ranks(monkeypatch):
    monkeypatch.setattr("model.utilization._measured", lambda dtype: 100.0)
    model, config = model_of("gpt_bigcode"), config_of({"data": 2, "tensor": 2})
    found = utilization_of(model, 512, config, CPU)
    assert found.flops_per_token == 3 * forward_flops_per_token(model, 512, model.context_length_tokens, "causal")
    assert found.peak_flops_per_second == 400.0
