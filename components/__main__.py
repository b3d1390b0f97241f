"""python -m components STEP: the door of DVC, of pods and of people.

Exit codes: 0 published or reused, 2 a mistake that its sentence says how to mend, 75 preempted (run again to resume),
130 interrupted, 1 a fault of ours (with its traceback).
"""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from components.catalog import STEPS, step_named
from components.config import load_config
from components.errors import PreemptedError, StarloomError
from components.event_stream import StepEvents
from components.run_step import run_step
from components.settings import Settings
from components.terminal import TerminalSink
from model.reporting import reporting_to

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help="Run one step of the pipeline, or find its artifact made.")
def step(
    name: Annotated[str, typer.Argument(metavar="STEP", help="One of: " + ", ".join(row.name for row in STEPS))],
    params: Annotated[Path, typer.Option(help="Parameter file, relative to the workspace.")] = Path("params.yaml"),
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one parameter.")
    ] = None,
) -> None:
    """Print what came of it: a table for a person, or JSON lines with STARLOOM_EVENTS=json."""
    settings = Settings.from_environment()
    config = load_config(settings.workspace / params, overrides or ())
    try:
        row = step_named(name)
    except KeyError as error:
        raise StarloomError(str(error.args[0])) from None
    events = _events()
    with closing(TerminalSink(row.name)) as terminal, reporting_to(events or terminal):
        record = run_step(row, config, settings)
    if events:
        events.published(record)
    else:
        typer.echo(f"{row.output} {record.digest[:12]} {json.dumps(record.summary)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; a person's mistake becomes one sentence on stderr."""
    try:
        code = app(arguments, standalone_mode=False)
    except PreemptedError as error:
        return _fail(str(error), type(error).__name__, code=75)
    except StarloomError as error:
        return _fail(str(error), type(error).__name__)
    except typer.TyperException as error:
        return _fail(error.format_message(), "UsageError")
    except (KeyboardInterrupt, typer.Abort):
        return 130
    return int(code or 0)


def _events() -> StepEvents | None:
    return StepEvents(sys.stdout.fileno()) if os.environ.get("STARLOOM_EVENTS") == "json" else None


def _fail(sentence: str, kind: str, code: int = 2) -> int:
    events = _events()
    if events:
        events.failed(kind, sentence)
    print(f"error: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
