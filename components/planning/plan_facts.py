"""What a plan tells in words, for the terminal and for the page alike."""

from components.planning.hardware import Hardware
from components.planning.layout_plan import LayoutPlan


def run_rows(plan: LayoutPlan) -> list[tuple[str, str]]:
    """The whole run: what it takes, from the fast to the slow end."""
    fast, slow = plan.fast, plan.slow

    def cost(name: str) -> str:
        return f"{amount(getattr(fast.cost, name))} to {amount(getattr(slow.cost, name))}"

    interval = slow.checkpoint_interval_seconds
    return [
        ("wall time", durations(fast.days, slow.days)),
        ("device-hours", cost("device_hours")),
        ("cost, USD", cost("cost_usd")),
        ("energy, kWh", cost("energy_kwh")),
        ("carbon, kg CO2e", cost("carbon_kg")),
        ("checkpoint, GB", amount(plan.checkpoint_bytes / 1e9)),
        (
            "checkpoint every",
            f"{durations(interval / 86_400)}, {max(1, round(interval / plan.step_seconds)):,} steps (Young and Daly)",
        ),
    ]


def durations(*days: float) -> str:
    """A time, or a range of times, in the unit that a person would say."""
    longest = max(days)
    unit, factor = ("days", 1) if longest >= 1 else ("hours", 24) if longest * 24 >= 1 else ("minutes", 1440)
    return " to ".join(f"{value * factor:,.1f}" for value in days) + f" {unit}"


def amount(value: float) -> str:
    """Whole if it is large, else three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def assumptions(hardware: Hardware) -> list[str]:
    """What the figures rest on, one sentence each."""
    efficiency, costs = hardware.kind.efficiency, hardware.costs
    return [
        f"A {hardware.device} reaches {efficiency.low:.1%} to {efficiency.high:.1%} of its peak where nothing is sent: "
        f"{efficiency.source}.",
        f"Within a node {hardware.kind.node_bytes_per_second / 1e9:,.0f} GB/s a device, between nodes "
        f"{hardware.network_bytes_per_second / 1e9:,.2f} GB/s.",
        "Times are those of undisturbed steps: no evaluation, no restart, no slow node.",
        f"{costs.watts:g} W a device, power usage effectiveness {costs.power_usage_effectiveness:g}, "
        f"{costs.carbon_kg_per_kwh:g} kg CO2e a kWh, {costs.price_per_hour_usd:g} USD a device-hour "
        f"(profile {costs.pool}).",
    ]
