"""A step's reports for a person at a terminal: one line that moves, notes above it. Silent when nobody watches."""

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class TerminalSink:
    """Shows progress on stderr while that is a terminal; notes always go there."""

    def __init__(self, title: str) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._title = title
        self._task: TaskID | None = None
        self._detail = ""

    def progress(self, done: int, total: int | None, what: str) -> None:
        """Move the line; it disappears when all is done."""
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task(self._title, detail="", total=total)
        self._progress.update(
            self._task,
            completed=done,
            total=total,
            description=f"{self._title} ({what})",
            detail=self._detail,
        )
        if done == total:
            self.close()

    def close(self) -> None:
        """Take the line away if work ended in the middle of it: it hides the cursor for as long as it moves."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._progress.stop()
            self._task = None

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Show the loss beside the bar."""
        shown = [f"{name} {values[name]:.3f}" for name in ("loss", "validation_loss") if name in values]
        if shown:
            self._detail = ", ".join(shown)

    def note(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False, highlight=False)
