from typing import Any

from flows.services import describe_services
from flows.startup import start_everything


def test_coming_up_twice_starts_nothing_and_says_so(house: Any):
    start_everything(house.settings, lambda _: None)  # closes the runs that other tests left without a process
    before = [state.pid for state in describe_services(house.settings)]
    said: list[str] = []
    start_everything(house.settings, said.append)
    assert [state.pid for state in describe_services(house.settings)] == before
    assert len(said) == 3
    assert all("running already" in text for text in said)


def test_the_first_start_told_what_it_did(house: Any):
    assert [text.split(":")[0] for text in house.said] == [
        "Prefect server",
        "MLflow server",
        "Prefect deployments",
        "Prefect worker",
    ]
