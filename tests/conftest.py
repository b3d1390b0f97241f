"""What all tests share: hypothesis judges by results, not by the clock of a shared machine."""

from hypothesis import settings

settings.register_profile("starloom", deadline=None)
settings.load_profile("starloom")
