"""The page tells the plan, is well formed, and loads nothing."""

import re
from html.parser import HTMLParser

import pytest

from components.planning.plan_page import plan_page
from components.planning.plan_schedule import planned_timeline
from components.planning.search_layouts import plan_pool
from model.config import PretrainConfig
from tests.components.planning.trial_runs import model_of, pool_of, training_of


class Structure(HTMLParser):
    """Open elements and the attributes of all."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page_of(config: PretrainConfig, device: str = "a100-80gb") -> str:
    hardware = pool_of(device)
    plan = plan_pool(model_of(), 49_152, config, hardware)
    works, drawn = planned_timeline(plan.asked, model_of(), 49_152, hardware, 32)
    return plan_page(plan, hardware, works, drawn)


@pytest.fixture(scope="module")
def reference() -> str:
    """The page of StarCoderBase."""
    return page_of(training_of())


def test_it_is_well_formed_and_loads_nothing(reference: str) -> None:
    structure = Structure()
    structure.feed(reference)
    assert structure.open == []
    assert "script" not in structure.tags
    assert not {name for name, _ in structure.attributes} & {"src", "href", "onclick", "onload"}
    assert "default-src 'none'" in reference


def test_it_tells_the_plan(reference: str) -> None:
    for told in (
        "TP4 PP4 DP32 SP, micro 1 on test",
        "15,517,456,384 parameters",
        "8.85 to 9.95 s",
        "25.6 to 28.8 days",
        "314,619 to 353,732",
        "14.9% is bubble",
        "40.5% to 46.6%",
    ):
        assert told in reference, told
    assert reference.count("<td>stage ") == 4


def test_the_picture_has_every_micro_batch_of_every_stage(reference: str) -> None:
    drawn = re.findall(r"<title>(forward|backward) of micro-batch (\d+)", reference)
    assert len(drawn) == 2 * 4 * 16
    assert {int(number) for _, number in drawn} == set(range(16))


def test_a_layout_that_cannot_be_had_is_told_with_the_nearest() -> None:
    page = page_of(training_of(tensor=1, data=128, micro_batch_size=2, accumulation_steps=2))
    assert "stage 0 of 4 needs" in page
    assert "The nearest layout that fits: TP1 PP4 DP128 recompute, micro 2." in page


def test_one_stage_has_no_picture() -> None:
    page = page_of(training_of(tensor=8, pipeline=1, data=64, accumulation_steps=8))
    assert "<svg" not in page
    assert "nothing waits" in page
