import io

import pytest
from rich.console import Console

from components.catalog import STEPS
from flows.console import RunView


def view(is_terminal: bool = False) -> tuple[RunView, Console]:
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=120, height=40)
    return RunView(STEPS, console), console


def shown(console: Console) -> str:
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


RECORD = {"artifact": "raw_files", "digest": "0123456789abcdef"}


def test_without_a_terminal_a_line_is_printed_when_a_step_ends() -> None:
    run, console = view()
    with run.shown():
        run.hear("ingest_sources", {"event": "started"})
        run.hear("ingest_sources", {"event": "progress", "done": 1, "total": 2, "what": "files"})
        run.hear("ingest_sources", {"event": "record", "record": RECORD})
        run.hear("filter_quality", {"event": "reused", "record": RECORD})
    lines = shown(console).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("ingest_sources: done, raw_files 0123456789ab")
    assert lines[1].startswith("filter_quality: reused")


def test_at_a_terminal_every_step_has_its_line_from_the_start() -> None:
    run, console = view(is_terminal=True)
    console.print(run)
    assert all(step.name in shown(console) for step in STEPS)


def test_a_training_shows_its_loss_and_the_time_left() -> None:
    run, console = view(is_terminal=True)
    run.hear("pretrain", {"event": "progress", "done": 0, "total": 10, "what": "steps"})
    run.hear("pretrain", {"event": "progress", "done": 5, "total": 10, "what": "steps"})
    run.hear("pretrain", {"event": "metrics", "step": 5, "values": {"loss": 3.25, "tokens_per_second": 9000.0}})
    console.print(run)
    assert "5/10 steps" in shown(console)
    assert "loss 3.250" in shown(console)
    assert "tokens/s 9,000" in shown(console)
    assert "left" in shown(console)


def test_a_training_shows_how_it_steps_how_fast_and_the_loss_of_each_source() -> None:
    run, console = view(is_terminal=True)
    values = {
        "loss": 3.25,
        "gradient_norm": 0.512345,
        "learning_rate": 3e-4,
        "model_flops_per_second": 1.234e11,
        "model_flops_utilization": 0.4567,
        "memory_bytes": 2.5e9,
    } | {f"validation_loss/source{number}": float(number) for number in range(9)}
    run.hear("pretrain", {"event": "metrics", "step": 5, "values": values})
    console.print(run)
    told = shown(console)
    assert "gradient norm 0.512, learning rate 3.00e-04, 123 GFLOP/s, MFU 45.7%, 2.5 GB a rank" in told
    assert (
        "source8 8.000, source7 7.000, source6 6.000, source5 5.000, source4 4.000, source3 3.000, 3 more below" in told
    )


def test_the_time_left_of_a_resumed_training_counts_from_where_it_went_on(monkeypatch: pytest.MonkeyPatch) -> None:
    run, console = view(is_terminal=True)
    now = 1000.0
    monkeypatch.setattr("flows.console.time.monotonic", lambda: now)
    run.hear("pretrain", {"event": "progress", "done": 9000, "total": 10_000, "what": "steps"})
    now += 60
    run.hear("pretrain", {"event": "progress", "done": 9010, "total": 10_000, "what": "steps"})
    console.print(run)
    assert "about 1 h 39 min left" in shown(console)


def test_a_step_of_which_nothing_was_told_before_may_appear() -> None:
    run, console = view(is_terminal=True)
    run.hear("something_new", {"event": "note", "text": "hello"})
    console.print(run)
    assert "something_new" in shown(console)
