"""What all tests share: hypothesis judges by results, not by the clock of a shared machine; Ctrl-C is heard.

A command that runs in the tests' own process points its environment to servers: no later test may inherit that.
"""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("starloom", deadline=None)
settings.load_profile("starloom")


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """A test session started in the background ignores SIGINT, and so would everything in it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _settings_stay() -> Iterator[None]:
    def ours() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name.startswith(("STARLOOM_", "PREFECT_"))}

    before = ours()
    yield
    for name in ours().keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
