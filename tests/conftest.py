"""What all tests share: hypothesis judges by results, not by the clock of a shared machine; Ctrl-C is heard."""

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
