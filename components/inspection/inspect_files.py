"""An inspection as a whole: files are drawn from raw_files, the page is written, and verdicts find their table."""

import difflib
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from components.catalog import step_making
from components.corpus.filter_quality import rules_of
from components.corpus.inspection_table import Inspection
from components.corpus.quality_config import FilterQualityConfig
from components.errors import EmptyArtifactError, MissingInputError, ParamsError, SourceError
from components.inspection.highlight_code import Highlighter
from components.inspection.inspection_page import PageFacts, write_page
from components.inspection.sample_files import MAX_MEASURED, Sample, sample_files
from components.inspection.verdict_server import VerdictServer
from components.inspection.verdict_table import VerdictTable
from components.lineage import StepRecord, published_record
from components.provenance import person_at
from components.runner import usable_processors
from components.settings import Settings
from components.sources.language_table import LANGUAGES
from components.terminal import TerminalSink
from model.reporting import reporting_to

_ARTIFACT = "raw_files"
_KNOWN = frozenset(language.name for language in LANGUAGES)


@dataclass(frozen=True)
class InspectionRequest:
    """What is to be looked at, by whom, and where the page goes."""

    languages: frozenset[str] = frozenset()
    """Empty for all."""
    files_per_extension: int = 50
    """1 to MAX_MEASURED; StarCoder's reviewers opened 50 to 100 (arXiv 2305.06161, section 3.2)."""
    seed: int | None = None
    """filter_quality.seed if None."""
    page: Path | None = None
    """`reports/inspection/index.html` of the workspace if None."""
    reviewer: str | None = None
    """If None, the name that Git would put on a commit in the workspace, else that of the login."""


@dataclass(frozen=True)
class Inspected:
    """A page that was written, and the table that its verdicts belong to."""

    page: Path
    table: VerdictTable
    reviewer: str
    sample: Sample
    standing: tuple[Inspection, ...]
    """Our reviewers' verdicts when it was written."""

    @property
    def endings(self) -> frozenset[tuple[str, str]]:
        """Language and ending of all that the page shows."""
        return frozenset((ending.language, ending.extension) for ending in self.sample.endings)

    def told(self, is_served: bool) -> str:
        """What a reviewer needs to know, in lines; how to judge without a server only if there is none."""
        endings = self.sample.endings
        files = sum(len(ending.shown) for ending in endings)
        languages = len({ending.language for ending in endings})
        to_judge = {(ending.language, ending.extension) for ending in endings if ending.is_taken}
        judged = len(to_judge & {row.key for row in self.standing})
        lines = [
            f"{self.page}: {_counted(files, 'file')} of {_counted(len(endings), 'ending')} in "
            f"{_counted(languages, 'language')}, {self.page.stat().st_size / 1e6:.1f} MB",
            f"Judged: {judged} of {_counted(len(to_judge), 'ending')} whose language is taken, in {self.table.path}",
        ]
        return "\n".join(lines if is_served else [*lines, _WITHOUT_SERVER])


_WITHOUT_SERVER = """\
Open the page in a browser and judge. Then download the verdicts there, and: starloom inspect --take FILE
Or start `starloom inspect --serve`, which writes each verdict into the table as it is given."""


def inspect_files(config: FilterQualityConfig, request: InspectionRequest, settings: Settings) -> Inspected:
    """Draw files from the published raw_files and write the page; equal requests, files and verdicts give equal pages.

    MissingInputError if raw_files is not made yet, ParamsError for a part of the request that cannot be, SourceError
    for a table of verdicts that is wrong, EmptyArtifactError if there is nothing to show.
    """
    table = _table_of(config, settings)
    page = request.page or settings.reports_dir / "inspection" / "index.html"
    _check(request, page)
    record = _record(settings)
    raw_files = settings.artifacts_dir / _ARTIFACT
    seed = config.seed if request.seed is None else request.seed
    with closing(TerminalSink("inspect")) as terminal, reporting_to(terminal):
        sample = sample_files(
            raw_files,
            rules_of(config, raw_files, settings.workspace),
            files_per_extension=request.files_per_extension,
            seed=seed,
            languages=request.languages or None,
        )
        if _record(settings).record_digest() != record.record_digest():
            raise SourceError(f"{_ARTIFACT} was made anew while it was looked at; run again when it is at rest")
        if not sample.endings:
            wanted = ", ".join(sorted(request.languages)) or "a known language"
            raise EmptyArtifactError(
                f"{_ARTIFACT} holds no file of {wanted}; ask for another language, or collect some"
            )
        reviewer = person_at(settings.workspace) if request.reviewer is None else request.reviewer
        facts = PageFacts(seed, str(config.inspection_file), reviewer, table.rows(), config)
        with Highlighter(settings.workers or usable_processors()) as highlighter:
            write_page(page, sample, facts, highlighter)
    return Inspected(page, table, reviewer, sample, tuple(facts.standing))


def serve_verdicts(inspected: Inspected, port: int, tell: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C, and `tell` where it is and what the table holds in the end.

    ServiceError if the port is taken.
    """
    with VerdictServer(inspected.page, inspected.table, inspected.endings, inspected.reviewer, port) as server:
        tell(f"Judge in the name of {inspected.reviewer or 'nobody'} at {server.url}\nCtrl-C ends it.")
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    tell(_told(inspected.table))


def take_verdicts(file: Path, config: FilterQualityConfig, settings: Settings) -> str:
    """Merge a file that a page let a reviewer download into the table; what became of its rows, in lines.

    SourceError if there is no such file or a row of it cannot be; ParamsError if no step would read the table.
    """
    table = _table_of(config, settings)
    taken = table.take(file)
    lines = [f"Taken: {_name(row)} {row.verdict}" for row in taken.taken]
    lines += [f"Passed over: {_name(row)}, whose verdict in the table is of a later day" for row in taken.passed_over]
    return "\n".join([*lines, _told(table)])


def _table_of(config: FilterQualityConfig, settings: Settings) -> VerdictTable:
    """The table that filter_quality reads with this config."""
    if config.inspection_file is None:
        raise ParamsError(
            "filter_quality.inspection_file is null, so no step would read a verdict; set it to inspection.csv"
        )
    return VerdictTable(settings.workspace / config.inspection_file, settings.state_dir / "inspection.lock")


def _told(table: VerdictTable) -> str:
    rows = table.rows()
    excluded = ", ".join(_name(row) for row in rows if row.verdict == "exclude")
    return (
        f"{table.path} holds {_counted(len(rows), 'verdict')}; excluded: {excluded or 'nothing'}\n"
        "The next filter_quality follows it: `starloom run`. Commit it to keep it with the parameters."
    )


def _name(row: Inspection) -> str:
    return f"{row.language} {row.extension or '(no ending)'}"


def _check(request: InspectionRequest, page: Path) -> None:
    if page.is_dir() or any(folder.exists() and not folder.is_dir() for folder in page.parents):
        raise ParamsError(f"--page {page} cannot be written as a file; name one that may be, for example page.html")
    if not 1 <= request.files_per_extension <= MAX_MEASURED:
        raise ParamsError(f"--files {request.files_per_extension} cannot be used; write 1 to {MAX_MEASURED}")
    for name in sorted(request.languages - _KNOWN):
        near = difflib.get_close_matches(name.lower(), sorted(_KNOWN), 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "write it as filter_quality.languages would"
        raise ParamsError(f"--language {name!r} is not known; {hint}")


def _record(settings: Settings) -> StepRecord:
    record = published_record(_ARTIFACT, settings)
    if record is None:
        maker = step_making(_ARTIFACT).name
        raise MissingInputError(
            f"{_ARTIFACT} has not been made in {settings.workspace} yet; run `python -m components {maker}` or "
            "`starloom run` first"
        )
    return record


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
