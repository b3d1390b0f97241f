import dataclasses
from pathlib import Path

import pytest

from k8s.request import Failed, JobRequest, Succeeded


def test_a_request_cannot_be_changed_after_it_is_made():
    request = JobRequest(name="greet", command=("echo", "hello"), working_dir=Path("/"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.cpus = 2  # pyright: ignore[reportAttributeAccessIssue]


def test_two_requests_do_not_share_their_environment():
    first = JobRequest(name="greet", command=("echo",), working_dir=Path("/"))
    second = JobRequest(name="greet", command=("echo",), working_dir=Path("/"))
    assert first.environment is not second.environment


def test_outcomes_are_told_apart_by_their_type():
    assert Failed(1, ()) != Succeeded()
    assert Failed(1, ("out of memory",)) == Failed(1, ("out of memory",))
