"""The API's stand-in, and the launcher's connection to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from k8s.cluster_launcher import Connection, connect
from tests.k8s.api_stand_in import ApiStandIn


@pytest.fixture
def api() -> Iterator[ApiStandIn]:
    stand_in = ApiStandIn()
    stand_in.start()
    yield stand_in
    stand_in.stop()


@pytest.fixture
def kubeconfig(api: ApiStandIn, tmp_path: Path) -> Path:
    return api.kubeconfig(tmp_path / "kubeconfig")


@pytest.fixture
def connection(kubeconfig: Path) -> Connection:
    return connect(kubeconfig, patience_seconds=8.0)
