"""Seconds: below one."""

import os

import pytest
from pydantic import ValidationError

from model.event_stream import EventWriter, Failure, deliver, read_event
from model.reporting import ListSink


def test_reports_arrive_at_the_sink_as_they_were_made():
    reading, writing = os.pipe()
    writer = EventWriter(writing)
    writer.progress(3, None, "steps")
    writer.metrics({"loss": 0.1, "learning_rate": 2e-3}, 7)
    writer.note("resumed at step 4\nsecond line \u00fc")
    os.close(writing)
    sink = ListSink()
    with os.fdopen(reading, "rb") as lines:
        for line in lines:
            deliver(read_event(line), sink)
    assert sink.progresses == [(3, None, "steps")]
    assert sink.measured == [(7, {"loss": 0.1, "learning_rate": 2e-3})]
    assert sink.notes == ["resumed at step 4\nsecond line \u00fc"]


def test_a_failure_keeps_its_kind():
    failure = Failure(kind="CheckpointError", text="another run")
    assert read_event(failure.model_dump_json().encode()) == failure


def test_writing_to_a_reader_that_is_gone_is_silent():
    reading, writing = os.pipe()
    os.close(reading)
    EventWriter(writing).note("nobody hears")
    os.close(writing)


@pytest.mark.parametrize("line", [b"", b"loading...", b'{"event":"note"}', b'{"event":"other","text":"x"}'])
def test_what_is_no_event_is_refused(line: bytes):
    with pytest.raises(ValidationError):
        read_event(line)
