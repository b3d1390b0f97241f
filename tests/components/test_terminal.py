"""A person's terminal is as it was when work ends, also in the middle."""

import pytest

from components.terminal import TerminalSink

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the captured stderr pass for a terminal."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")


@pytest.mark.usefixtures("watched")
def test_the_line_and_the_hidden_cursor_are_gone_when_all_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    sink = TerminalSink("work")
    sink.progress(1, 2, "files")
    sink.progress(2, 2, "files")
    sink.close()
    told = capsys.readouterr().err
    assert told.count(HIDE) == told.count(SHOW) == 1


@pytest.mark.usefixtures("watched")
def test_the_cursor_comes_back_when_work_ends_in_the_middle(capsys: pytest.CaptureFixture[str]) -> None:
    sink = TerminalSink("work")
    sink.progress(1, 2, "files")
    assert SHOW not in capsys.readouterr().err
    sink.close()
    assert SHOW in capsys.readouterr().err


def test_where_nobody_watches_only_notes_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    sink = TerminalSink("work")
    sink.progress(1, 2, "files")
    sink.note("said [so]")
    sink.close()
    assert capsys.readouterr().err == "said [so]\n"
