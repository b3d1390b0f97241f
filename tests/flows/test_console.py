import io

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
    run.hear("pretrain", {"event": "progress", "done": 5, "total": 10, "what": "steps"})
    run.hear("pretrain", {"event": "metrics", "step": 5, "values": {"loss": 3.25, "tokens_per_second": 9000.0}})
    console.print(run)
    assert "5/10 steps" in shown(console)
    assert "loss 3.250" in shown(console)
    assert "tokens/s 9,000" in shown(console)
    assert "left" in shown(console)


def test_a_step_of_which_nothing_was_told_before_may_appear() -> None:
    run, console = view(is_terminal=True)
    run.hear("something_new", {"event": "note", "text": "hello"})
    console.print(run)
    assert "something_new" in shown(console)
