"""What a run and `starloom status` tell: pure functions from records to rich tables and trees."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from components.catalog import STEPS
from components.lineage import StepRecord
from components.registry.ledger import LedgerEntry
from components.registry.promotion import PromotionDecision
from components.settings import Settings
from flows.services import ServiceState

if TYPE_CHECKING:
    from components.lineage_index import Downstream, IndexedRecord
    from components.trace_file import Fate, Reason  # Arrow costs half a second; most commands need none

_CHARS_OF_DIGEST = 12
_PROMOTIONS_SHOWN = 10


def funnel_table(records: Mapping[str, StepRecord]) -> Table:
    """What each step kept and dropped, and by which rule."""
    table = Table(title="Funnel", title_justify="left", header_style="bold")
    for heading in ("step", "files kept", "MB kept", "dropped", "why"):
        table.add_column(heading, justify="left" if heading in ("step", "why") else "right")
    for step in STEPS:
        record = records.get(step.output)
        files: dict[str, Any] | None = record.summary.get("files") if record else None
        if files is None:
            continue
        why = ", ".join(f"{rule} {count:,}" for rule, count in _most_first(files["dropped_by_rule"]))
        megabytes = f"{files['kept_bytes'] / 1e6:.1f}"
        table.add_row(step.name, f"{files['kept_files']:,}", megabytes, f"{files['dropped_files']:,}", why)
    return table


def _most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def contracts_table(records: Mapping[str, StepRecord], docs_dir: Path, workspace: Path) -> Table:
    """The verdict of every contract and where its page lies, from the workspace."""
    table = Table(title="Data contracts", title_justify="left", header_style="bold")
    for heading in ("artifact", "verdict", "expectations", "report"):
        table.add_column(heading, overflow="fold")
    for artifact, record in records.items():
        report = record.contract
        if report is None:
            continue
        failed = len(report.failures)
        told = f"{len(report.results)} checked" + (f", {failed} failed" if failed else "")
        style = {"passed": "green", "warned": "yellow"}.get(report.verdict, "red")
        page = docs_dir / artifact / "index.html"
        place = str(page.relative_to(workspace)) if page.exists() else ""
        table.add_row(artifact, Text(report.verdict, style=style), told, place)
    return table


def evaluation_table(report: Mapping[str, Any]) -> Table:
    """Held-out bits per byte, of the network and of the counting model, in all and by language."""
    baseline = report["baseline"]
    title = f"Evaluation on {report['held_out']['files']:,} held-out files ({report['split']})"
    table = Table(title=title, title_justify="left", header_style="bold")
    for heading in ("what", "model", baseline["name"]):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    table.add_row("bits per byte", f"{report['bits_per_byte']:.4f}", f"{baseline['bits_per_byte']:.4f}", style="bold")
    for row in report["per_language"]:
        what = f"  {row['language']} ({row['bytes'] / 1000:,.0f} kB)"
        table.add_row(what, f"{row['bits_per_byte']:.4f}", f"{row['baseline_bits_per_byte']:.4f}")
    problems, filled = report["problems"], report["fill_in_middle"]
    solved = f"{problems['solution_bits_per_byte']:.4f}"
    table.add_row(f"{problems['count']} problems: solution, bits per byte", solved, "")
    table.add_row("  greedy answers that parse", f"{problems['syntax_valid_fraction']:.0%}", "")
    table.add_row(f"{filled['cases']} lines filled in exactly", f"{filled['exact_match_fraction']:.0%}", "")
    return table


def decision_table(decision: PromotionDecision) -> Table:
    """Each condition of the promotion and what it saw."""
    outcome = "promoted to @champion" if decision.promoted else "not promoted"
    title = f"{decision.model_name} version {decision.version}: {outcome}"
    settled = Text(decision.settled) if decision.settled else None
    table = Table(title=title, title_justify="left", header_style="bold", caption=settled, caption_justify="left")
    for heading in ("condition", "holds", "figures"):
        table.add_column(heading)
    for check in decision.checks:
        holds = Text("yes", style="green") if check.passed else Text("no", style="red")
        table.add_row(check.name, holds, check.why)
    return table


def lineage_tree(record: StepRecord, records: Mapping[str, StepRecord], title: str) -> Tree:
    """Everything that `record` stands on, downstream first; `records` holds them by record digest.

    An artifact that two others stand on is spelled out once.
    """
    tree = Tree(Text(title, style="bold"))
    _grow(tree, record, records, set())
    return tree


def _grow(branch: Tree, record: StepRecord, records: Mapping[str, StepRecord], told: set[str]) -> None:
    digest = record.digest[:_CHARS_OF_DIGEST]
    again = record.record_digest() in told
    line = Text.assemble((record.artifact, "bold"), f"  {digest}", (f"  by {record.step}", "dim"))
    cost = record.provenance.cost
    if cost is not None:
        energy = f", {cost.energy_kwh:.3g} kWh" if cost.energy_kwh is not None else ""
        attempts = record.provenance.attempts or 1
        tried = f" in {attempts} attempts" if attempts > 1 else ""
        line.append(f"  {cost.device_hours:.3g} {cost.device} hours{energy}{tried}", style="dim")
    if again:
        line.append("  (above)", style="dim")
    node = branch.add(line)
    if again:
        return
    told.add(record.record_digest())
    for name, source in record.sources.items():
        node.add(Text(f"{name}  {source[:_CHARS_OF_DIGEST]}", style="dim"))
    for reference in record.inputs.values():
        _grow(node, records[reference.record], records, told)


def downstream_tree(starts: "Sequence[IndexedRecord]", below: "Downstream", title: str) -> Tree:
    """Everything that stands on the records `starts`; what stands on two others is spelled out once."""
    tree = Tree(Text(title, style="bold"))
    told: set[str] = set()
    for start in starts:
        _grow_down(tree, start, below, told)
    return tree


def _grow_down(branch: Tree, record: "IndexedRecord", below: "Downstream", told: set[str]) -> None:
    digest = record.bytes_digest[:_CHARS_OF_DIGEST]
    line = Text.assemble((record.artifact, "bold"), f"  {digest}", (f"  by {record.step}", "dim"))
    again = record.digest in told
    if again:
        line.append("  (above)", style="dim")
    node = branch.add(line)
    if again:
        return
    told.add(record.digest)
    for model in below.models.get(record.digest, ()):
        style = "green" if model.standing.value == "champion" else "dim"
        node.add(Text.assemble(f"{model.name} version {model.version}  ", (model.standing.value, style)))
    for one in below.standing_on.get(record.digest, ()):
        _grow_down(node, one, below, told)


def promotions_table(entries: Sequence[LedgerEntry]) -> Table:
    """The newest entries of a ledger, the last one on top."""
    newest = entries[: -_PROMOTIONS_SHOWN - 1 : -1]
    told = f", the last {len(newest)} of {len(entries)}" if len(newest) < len(entries) else ""
    table = Table(title=f"Promotions of {newest[0].model_name}{told}", title_justify="left", header_style="bold")
    for heading in ("entry", "version", "from", "what", "when", "who"):
        table.add_column(heading, justify="right" if heading in ("entry", "version", "from") else "left")
    for entry in newest:
        before = "" if entry.champion_before is None else str(entry.champion_before)
        table.add_row(str(entry.number), str(entry.version), before, entry.event, entry.when, Text(entry.who))
    return table


def pointers_table(settings: Settings, outcome: Any) -> Table:
    """Where what a run has made can be looked at."""
    version = outcome.registered
    alias = " @champion" if outcome.decision and outcome.decision.promoted else ""
    table = Table.grid(padding=(0, 2))
    table.add_row("data version", f"{outcome.data_version.version}  (git tag data/{outcome.data_version.version})")
    table.add_row("model", f"{version.name} version {version.version}{alias}")
    table.add_row("loss curve", str(settings.reports_dir / "loss_curve.png"))
    table.add_row("Prefect", f"http://127.0.0.1:{settings.prefect_port}")
    table.add_row("MLflow", settings.mlflow_url)
    return table


def fate_table(repository: str, path: str, fates: "Sequence[Fate]") -> Table:
    """What each step did with the versions of a file."""
    title = Text(f"{repository} {path}", style="bold")
    table = Table(title=title, title_justify="left", header_style="bold")
    for heading in ("step", "kept", "dropped because"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "kept" else "left")
    for fate in fates:
        table.add_row(fate.step, str(fate.kept), Text("\n".join(_told(reason) for reason in fate.dropped)))
    return table


def _told(reason: "Reason") -> str:
    version = f"{reason.commit[:_CHARS_OF_DIGEST]}: " if reason.commit else ""
    other = f" = {' '.join(reason.other)}" if reason.other else ""
    detail = f"; {reason.detail}{other}" if reason.detail else ""
    return f"{version}{reason.rule}, {reason.value} against {reason.threshold}{detail}"


def together(*parts: RenderableType) -> Group:
    """The parts below each other, an empty line between."""
    spaced: list[RenderableType] = []
    for part in parts:
        spaced += [part, Text()]
    return Group(*spaced[:-1])


def services_table(services: Sequence[ServiceState], workspace: Path) -> Table:
    """The embedded services as they are now."""
    table = Table(title="Services", title_justify="left", header_style="bold")
    for heading in ("service", "state", "address", "MB", "log"):
        table.add_column(heading, overflow="fold")
    for service in services:
        memory = f"{service.memory_bytes / 1e6:.0f}" if service.memory_bytes else ""
        table.add_row(
            service.title, service.status.value, service.url or "", memory, str(service.log.relative_to(workspace))
        )
    return table


def artifacts_table(records: Mapping[str, StepRecord | None]) -> Table:
    """Every artifact of the pipeline, or that it has not been made."""
    table = Table(title="Artifacts", title_justify="left", header_style="bold")
    for heading in ("artifact", "digest", "made", "by"):
        table.add_column(heading)
    for step in STEPS:
        record = records[step.output]
        made = (record.digest[:_CHARS_OF_DIGEST], record.provenance.ended) if record else ("", "not yet")
        table.add_row(step.output, *made, Text(step.name, style="dim"))
    return table
