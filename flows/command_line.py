"""starloom: the command line. Each command says what it does, prints what came of it, and ends with a clear code.

Prefect, MLflow and torch are imported by the commands that need them: a command that needs none answers at once, and
Prefect reads its environment at import, which must point to the embedded server by then.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from components.catalog import STEPS
from components.config import load_config
from components.errors import ParamsError, StarloomError, StorageError
from components.lineage import published_record
from components.registry.ledger import open_ledger
from components.settings import Settings
from flows import summary
from flows.ask_lineage import model_registry, published, tell_downstream, tell_upstream
from flows.cluster_plan import tell_dry_run
from flows.corpus_on_ray import step_arguments
from flows.forms import TrainCodeModelRequest
from flows.plan_run import known_profile, plan_run, write_page
from flows.plan_tables import plan_tables
from flows.run_command import run_whole
from flows.services import describe_services, prefect_environment, stop_services
from flows.startup import start_everything

EPILOG = (
    "Exit codes: 0 done; 1 a condition was not met, or a fault of starloom's own (then with a traceback); "
    "2 a mistake whose message says the mend; 130 interrupted."
)

_INTERRUPTED = 130
_PATHS_WANTED = {
    "params_file": "give a .yaml file inside the workspace, by its path from there",
    "profile": "give the name of a profile, or a .yaml file inside the workspace, by its path from there",
}

app = typer.Typer(
    name="starloom",
    help="From source code to a served model in one lineage. A workspace is a directory with params.yaml and dvc.yaml; "
    "commands act on the current one, or on STARLOOM_WORKSPACE.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
rollback = typer.Typer(help="Bring an older version back.", no_args_is_help=True)
app.add_typer(rollback, name="rollback")

Params = Annotated[Path, typer.Option("--params", help="Parameter file, relative to the workspace.")]
DEFAULT_PARAMS = Path("params.yaml")
out = Console(highlight=False)


@app.command(epilog=EPILOG)
def up() -> None:
    """Start the embedded services.

    A Prefect server, an MLflow server, the deployments of prefect.yaml and one worker. They listen on 127.0.0.1
    only, keep their data in .starloom/services and go on after this command.
    A second `up` finds them running.
    """
    start_everything(_enter(), _say)


@app.command(epilog=EPILOG)
def down() -> None:
    """Stop the embedded services.

    Everything they started ends with them. Their data stay.
    """
    stop_services(_enter(), _say)


@app.command(epilog=EPILOG)
def run(
    params: Params = DEFAULT_PARAMS,
    training_steps: Annotated[
        int | None, typer.Option(help="Train so many steps in place of pretrain.num_steps.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Use this in place of pretrain.seed.")] = None,
    promote: Annotated[bool, typer.Option(help="Promote the new version if it is no worse.")] = True,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where to train: of k8s/profiles, or your own .yaml.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print plan and manifests; start nothing.")] = False,
) -> None:
    """Run the whole pipeline, sources to champion.

    A clean corpus, its data version, training, evaluation, registration, promotion. What is made already, with
    the same parameters and unharmed bytes, is reused. A training that was killed goes on
    from its last checkpoint.
    """
    settings = _enter()
    request = _request(params, training_steps, seed, promote, profile)
    config = load_config(settings.workspace / params, request.overrides())
    pool = known_profile(profile or settings.profile, settings.workspace)
    if dry_run:
        tell_dry_run(config, settings, pool, step_arguments(str(params), request.overrides()), out)
        return
    run_whole(request, config, pool, settings, out)


@app.command(epilog=EPILOG)
def plan(
    params: Annotated[Path, typer.Argument(help="Parameter file, relative to the workspace.")] = DEFAULT_PARAMS,
    pool: Annotated[str, typer.Option(metavar="PROFILE", help="A profile of k8s/profiles, or a .yaml file.")] = "local",
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the plan as a page, too.")] = None,
) -> None:
    """Work out a training on paper.

    Memory of each device, time of a step, days, cost and carbon on a pool of devices, and the layouts that would fit.
    Nothing is started. Ends with code 1 when the layout of the parameter file cannot be had there.
    """
    workspace = Settings.from_environment().workspace
    config = load_config(workspace / params)
    planned, hardware = plan_run(config, known_profile(pool, workspace, "--pool"))
    out.print(plan_tables(planned, hardware))
    if html is not None:
        write_page(planned, hardware, config, html)
        out.print(f"page: {html}", markup=False)
    if planned.asked.refusals:
        raise typer.Exit(1)


@app.command(epilog=EPILOG)
def status() -> None:
    """Show services, artifacts and versions."""
    settings = _enter()
    services = summary.services_table(describe_services(settings), settings.workspace)
    artifacts = summary.artifacts_table({step.output: published_record(step.output, settings) for step in STEPS})
    out.print(summary.together(services, artifacts))
    from components.versioning import data_version_of, data_versions  # noqa: PLC0415

    names = ", ".join(version.version for version in data_versions(settings))
    standing = data_version_of(settings)
    holds = standing.version if standing else "none of them"
    out.print(f"\nData versions: {names or 'none yet'}; the workspace holds {holds}")
    if any(service.name == "mlflow" and service.status.value == "running" for service in describe_services(settings)):
        for version in model_registry(settings, DEFAULT_PARAMS).versions():
            alias = "".join(f" @{alias}" for alias in version.aliases)
            out.print(f"Model {version.name} version {version.version}{alias}: data {version.data_version}")
    _print_promotions(settings)


@app.command(epilog=EPILOG)
def lineage(
    artifact: Annotated[str, typer.Argument(help="Artifact of the workspace, for example bundle.")] = "eval_report",
    version: Annotated[int | None, typer.Option(help="Ask about this registered model version.")] = None,
    downstream: Annotated[bool, typer.Option("--downstream", help="Show what stands on it, instead.")] = False,
    params: Params = DEFAULT_PARAMS,
) -> None:
    """Show what an artifact or a model stands on.

    The tree goes to the sources; each line has the digest of the bytes. With --downstream it goes to the model versions
    that stand on the artifact, and ARTIFACT may be a data version (v1: what was trained on it) or a digest, too.
    """
    tell = tell_downstream if downstream else tell_upstream
    out.print(tell(artifact, version, params, _enter()))


@app.command("why-dropped", epilog=EPILOG)
def why_dropped(
    repository: Annotated[str, typer.Argument(metavar="REPO", help="owner/name, as the tables write it.")],
    path: Annotated[str, typer.Argument(help="Path inside the repository; issues/12 for a conversation.")],
) -> None:
    """Tell what became of one file.

    Step by step: how many versions of it each artifact holds, and of each that was dropped the rule, the value against
    the threshold, and the file that stands in its place.
    """
    settings = _enter()
    from components.trace_file import trace_file  # noqa: PLC0415

    out.print(summary.fate_table(repository, path, trace_file(repository, path, settings)))


@app.command(epilog=EPILOG)
def inspect(
    language: Annotated[list[str] | None, typer.Option(help="Show this one alone; may be given again.")] = None,
    files: Annotated[int, typer.Option(help="Files of each ending to look at.")] = 50,
    seed: Annotated[int | None, typer.Option(help="Draw with this in place of filter_quality.seed.")] = None,
    page: Annotated[Path | None, typer.Option(help="The page, else reports/inspection/index.html.")] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Take verdicts from the page until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Of --serve; 0 is any that is free.")] = 0,
    reviewer: Annotated[str | None, typer.Option(help="Who judges, else Git's user.name or the login.")] = None,
    take: Annotated[Path | None, typer.Option(help="Only take the verdicts that a page let you download.")] = None,
    params: Params = DEFAULT_PARAMS,
) -> None:
    """Look at collected files and judge each ending.

    Writes one page with files of every ending, drawn from raw_files, their numbers and what the filters would drop.
    The next filter_quality follows the verdicts.
    """
    settings = _enter()
    from components.inspection.inspect_files import (  # noqa: PLC0415
        InspectionRequest,
        inspect_files,
        serve_verdicts,
        take_verdicts,
    )

    config = load_config(settings.workspace / params).filter_quality
    if take is not None:
        _say(take_verdicts(take, config, settings))
        return
    request = InspectionRequest(frozenset(language or ()), files, seed, page, reviewer)
    inspected = inspect_files(config, request, settings)
    _say(inspected.told(is_served=serve))
    if serve:
        serve_verdicts(inspected, port, _say)


@app.command(epilog=EPILOG)
def promote(
    version: Annotated[int | None, typer.Argument(help="Model version; the newest if it is left out.")] = None,
    reconcile: Annotated[bool, typer.Option("--reconcile", help="Only put the alias where the ledger says.")] = False,
    params: Params = DEFAULT_PARAMS,
) -> None:
    """Make a model version the champion.

    Only if its evaluation is no worse than the champion's, on the same files, and all contracts hold. Ends with
    code 1 and the conditions that do not hold when it may not. Each promotion is an entry of the ledger, which
    `starloom status` shows; the alias in MLflow follows it.
    """
    if reconcile and version is not None:
        raise ParamsError(f"--reconcile promotes nothing, so leave version {version} out, or leave --reconcile out")
    settings = _enter()
    from components.registry import promote_model  # noqa: PLC0415

    config = load_config(settings.workspace / params)
    if reconcile:
        _say(promote_model.reconcile(config, settings) or "The alias stands where the ledger says.")
        return
    decision = promote_model.promote_model(config, settings, version)
    out.print(summary.decision_table(decision))
    if not decision.promoted:
        raise typer.Exit(1)


@rollback.command("data", epilog=EPILOG)
def rollback_data_command(
    version: Annotated[str, typer.Argument(help="Data version to bring back, for example v1.")],
    restore_params: Annotated[bool, typer.Option(help="Bring its params.yaml and pins back too.")] = False,
) -> None:
    """Bring a data version back.

    Every byte is fetched and verified before anything is replaced; then a new commit stands on the branch `data`.
    """
    settings = _enter()
    from components.versioning import rollback_data  # noqa: PLC0415

    done = rollback_data(version, settings, restore_params=restore_params)
    num_bytes = sum(
        file.size_bytes for name in done.version.artifacts for file in published(name, settings).files.values()
    )
    out.print(
        f"Data version {version} is back: {len(done.version.artifacts)} artifacts, {num_bytes / 1e6:.1f} MB verified"
    )
    out.print(f"Commit {done.commit[:12]} on the branch data")
    for difference in done.params_differences:
        out.print(f"The workspace asks for other data: {difference}", markup=False)
    if done.params_differences:
        out.print("The next run computes that anew; `--restore-params` brings the parameters back too.")


@app.command(epilog=EPILOG)
def complete(
    text: Annotated[str, typer.Argument(help="Code to go on from; `-` reads standard input.")],
    max_new_tokens: Annotated[int, typer.Option(min=1, max=4096, help="Length of the answer.")] = 64,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0, help="0 takes the likeliest token.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampling, above temperature 0.")] = 0,
    params: Params = DEFAULT_PARAMS,
) -> None:
    """Continue a text with the champion."""
    settings = _enter()
    prefix = sys.stdin.read() if text == "-" else text
    from components.registry.complete_text import complete_text  # noqa: PLC0415

    config = load_config(settings.workspace / params)
    answer, champion = complete_text(
        prefix, config, settings, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed
    )
    print(f"{prefix}{_printable(answer)}")
    print(f"-- {champion.name} version {champion.version}, data {champion.data_version}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process."""
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = int(app(arguments, standalone_mode=False) or 0)
    except StarloomError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except typer.TyperException as error:
        print(f"error: {error.format_message()}", file=sys.stderr)
        return 2
    except typer.Exit as leaving:
        return leaving.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    if code == _INTERRUPTED:  # typer gives it back for a Ctrl-C and says nothing
        print("interrupted; what was published stays, a training goes on where it was", file=sys.stderr)
    return code


def _enter() -> Settings:
    """The settings, with the environment pointed to the embedded services for all that is imported later."""
    settings = Settings.from_environment()
    if not (settings.workspace / "params.yaml").exists():
        raise ParamsError(
            f"{settings.workspace} is no workspace: it has no params.yaml; go to one or set STARLOOM_WORKSPACE"
        )
    os.environ.update(prefect_environment(settings))
    os.environ.setdefault("STARLOOM_TRACKING_URI", settings.mlflow_url)
    return Settings.from_environment()


def _say(text: str) -> None:
    out.print(text, markup=False, soft_wrap=True)


def _request(
    params: Path, training_steps: int | None, seed: int | None, promote: bool, profile: str | None
) -> TrainCodeModelRequest:
    try:
        return TrainCodeModelRequest(
            params_file=str(params),
            training_steps=training_steps,
            seed=seed,
            promote_if_better=promote,
            profile=profile,
        )
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = str(fault["loc"][0])
        option = {"params_file": "--params"}.get(name, f"--{name.replace('_', '-')}")
        why = _PATHS_WANTED.get(name, str(fault["msg"]).lower())
        raise ParamsError(f"{option} {fault['input']!r} cannot be used: {why}") from None


def _print_promotions(settings: Settings) -> None:
    name = load_config(settings.workspace / DEFAULT_PARAMS).register_model.model_name
    try:
        entries = open_ledger(name, settings).read().entries
    except StorageError as error:
        _say(f"The ledger of promotions cannot be read: {error}")
        return
    if entries:
        out.print(summary.promotions_table(entries))


def _printable(text: str) -> str:
    """Generated text is hostile: a terminal must not take its control characters for commands."""
    return "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)
