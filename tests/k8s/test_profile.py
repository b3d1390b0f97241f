"""Profiles: those that come with starloom are whole, others are refused with the mend."""

from pathlib import Path

import pytest

from k8s.profile import PROFILES_DIR, ProfileError, load_profile, profile_names


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_can_be_read_and_bears_its_name(name: str) -> None:
    assert load_profile(name).name == name


@pytest.mark.parametrize("name", profile_names())
def test_every_constant_has_a_word_on_where_it_is_from(name: str) -> None:
    lines = (PROFILES_DIR / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    measured = [
        line
        for line in lines
        if ":" in line.split("#")[0]
        and line.split(":")[0]
        in (
            "network_bytes_per_second_per_node",
            "price_per_device_hour_usd",
            "watts_per_device",
            "power_usage_effectiveness",
            "carbon_kg_per_kwh",
            "device_hours_between_interruptions",
            "checkpoint_stall_seconds",
        )
    ]
    assert len(measured) == 7
    assert [line for line in measured if "#" not in line and not line.endswith(": 0")] == []


def test_those_of_the_plan_are_there() -> None:
    assert {"local", "a100-64x8", "h100-8x8", "spot-h100"} <= set(profile_names())


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ProfileError, match="there is no profile nonsense; there are a100-64x8, h100-8x8"):
        load_profile("nonsense")


def test_a_file_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((PROFILES_DIR / "h100-8x8.yaml").read_text().replace("h100-8x8", "mine"))
    assert load_profile(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("nodes: 8", "nodes: 0", "nodes: input should be greater than or equal to 1"),
        ("nodes: 8", "nods: 8", "nods: extra inputs are not permitted"),
        ("watts_per_device: 700", "watts_per_device: many", "watts_per_device: input should be a valid number"),
        ("nodes: 8", "nodes: [", "cannot be read"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((PROFILES_DIR / "h100-8x8.yaml").read_text().replace(old, new, 1))
    with pytest.raises(ProfileError, match=r"mine\.yaml") as caught:
        load_profile(str(path))
    assert told in str(caught.value)
