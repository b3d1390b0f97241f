"""Device-hours as money, energy and carbon."""

import pytest

from components.planning.run_cost import observed_cost, run_cost, sum_of_costs
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


def test_attempts_are_summed_up() -> None:
    costs = [observed_cost(8, seconds, pool_of().costs) for seconds in (1800.0, 3600.0, 0.0)]
    total, at_once = sum_of_costs(costs), observed_cost(8, 5400.0, pool_of().costs)
    assert (total.device, total.pool, total.device_hours) == ("a100-80gb", "test", 12.0)
    for name in ("cost_usd", "energy_kwh", "carbon_kg"):
        assert getattr(total, name) == pytest.approx(getattr(at_once, name), abs=2e-6)
    assert sum_of_costs(costs[:1]) == costs[0]


def test_attempts_on_several_pools_name_them_all() -> None:
    first = observed_cost(8, 3600.0, pool_of().costs)
    second = first.model_copy(update={"device": "h100", "pool": "spot", "cost_usd": 1.5})
    both = sum_of_costs([first, second, first])
    assert (both.device, both.pool, both.device_hours) == ("a100-80gb and h100", "test and spot", 24.0)
    assert both.cost_usd == 2 * (first.cost_usd or 0) + 1.5


def test_money_that_one_attempt_does_not_know_is_not_known_of_all() -> None:
    both = sum_of_costs([observed_cost(1, 3600.0, pool_of().costs), observed_cost(1, 3600.0, None)])
    assert (both.device, both.device_hours) == ("a100-80gb and rank", 2.0)
    assert (both.pool, both.cost_usd, both.energy_kwh, both.carbon_kg) == (None, None, None, None)
