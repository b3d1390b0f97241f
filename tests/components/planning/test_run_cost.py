"""Device-hours as money, energy and carbon."""

import pytest

from components.planning.run_cost import observed_cost, run_cost
from tests.components.planning.trial_runs import pool_of


def test_the_carbon_of_starcoderbase_is_the_published() -> None:
    """16.68 t for 320,256 GPU-hours at 280 W, 1.2 and 0.15495 kg/kWh (arXiv 2305.06161)."""
    cost = run_cost(320_256, pool_of().costs)
    assert cost.energy_kwh == pytest.approx(89_671.68 * 1.2)
    assert cost.carbon_kg == pytest.approx(16_680, abs=10)
    assert cost.cost_usd == 2 * 320_256


def test_a_run_that_is_over_is_counted_in_the_hours_of_its_ranks() -> None:
    cost = observed_cost(8, 1800.0, pool_of().costs)
    assert (cost.device, cost.device_hours, cost.pool) == ("a100-80gb", 4.0, "test")
    assert cost.energy_kwh == pytest.approx(4 * 0.28 * 1.2)


def test_without_constants_only_hours_are_told() -> None:
    cost = observed_cost(2, 60.0, None)
    assert (cost.device, cost.device_hours) == ("rank", 0.033333)
    assert (cost.pool, cost.cost_usd, cost.energy_kwh, cost.carbon_kg) == (None, None, None, None)
