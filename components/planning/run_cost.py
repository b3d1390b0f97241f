"""What device-hours cost: money, energy, carbon. The same sum for a plan and for the record of a run that is over."""

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NotNegative = Annotated[float, Field(ge=0)]


class DeviceCosts(BaseModel):
    """What one device of a pool costs. Constants of the pool's profile, each with its source there."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    pool: str
    device: str
    price_per_hour_usd: NotNegative
    watts: NotNegative
    power_usage_effectiveness: Annotated[float, Field(ge=1)]
    """Energy of the whole building for each unit that the devices take."""
    carbon_kg_per_kwh: NotNegative
    """CO2 equivalent of the grid."""


class RunCost(BaseModel):
    """What a run took. An estimate: hours times constants, not a meter's reading."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    device: str
    """Kind of device; "rank" where nobody told which."""
    device_hours: NotNegative
    pool: str | None
    """Whose constants were taken; null where nobody told, and then all below is null."""
    cost_usd: float | None
    energy_kwh: float | None
    carbon_kg: float | None


def run_cost(device_hours: float, costs: DeviceCosts) -> RunCost:
    """Energy is hours x watts x power usage effectiveness; carbon is energy x intensity of the grid.

    With 280 W, 1.2 and 0.15495 kg/kWh these are the 16.68 t that were published for the 320,256 GPU-hours of
    StarCoderBase, as far as rounding goes.
    """
    energy_kwh = device_hours * costs.watts / 1000 * costs.power_usage_effectiveness
    return RunCost(
        device=costs.device,
        device_hours=device_hours,
        pool=costs.pool,
        cost_usd=device_hours * costs.price_per_hour_usd,
        energy_kwh=energy_kwh,
        carbon_kg=energy_kwh * costs.carbon_kg_per_kwh,
    )


def observed_cost(num_devices: int, seconds: float, costs: DeviceCosts | None) -> RunCost:
    """The cost of a run that is over, rounded; without constants only the hours of its ranks are known."""
    hours = round(num_devices * seconds / 3600, 6)
    if costs is None:
        return RunCost(device="rank", device_hours=hours, pool=None, cost_usd=None, energy_kwh=None, carbon_kg=None)
    cost = run_cost(hours, costs)
    rounded = {name: round(getattr(cost, name), 6) for name in ("cost_usd", "energy_kwh", "carbon_kg")}
    return cost.model_copy(update=rounded)


def sum_of_costs(costs: Sequence[RunCost]) -> RunCost:
    """The cost of several attempts (one at least) together; devices and pools that differ are all named.

    Where one attempt knows no constants, money, energy and carbon of all are not known.
    """
    pools = [cost.pool for cost in costs if cost.pool is not None]
    return RunCost(
        device=" and ".join(dict.fromkeys(cost.device for cost in costs)),
        device_hours=round(math.fsum(cost.device_hours for cost in costs), 6),
        pool=" and ".join(dict.fromkeys(pools)) if len(pools) == len(costs) else None,
        cost_usd=_sum([cost.cost_usd for cost in costs]),
        energy_kwh=_sum([cost.energy_kwh for cost in costs]),
        carbon_kg=_sum([cost.carbon_kg for cost in costs]),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(math.fsum(known), 6) if len(known) == len(values) else None
