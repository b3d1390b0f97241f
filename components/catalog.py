"""The whole pipeline as one table, in reading order: each row turns its inputs into one artifact.

    sources of four kinds -> raw_files, raw_issues, raw_commits (opt_outs are asked by each)
    raw_* -> quality_files, notebook_files, issue_files, commit_files -> permitted_files: one stream from here on
    permitted_files (-> pii_tagger) -> redacted_files -> unique_files -> clean_files -> corpus_splits
    corpus_splits -> tokenizer -> token_shards -> checkpoint -> bundle -> eval_report
    benchmark files -> eval_problems (clean_files are free of them, eval_report is measured on them)
    everything before training -> dataset_card

Registering and promoting are not here: they act on the world (`components/registry`).
Adding a step is adding a row, its section in params.yaml and its stage in dvc.yaml; the tests hold the three equal.
"""

from components.step import Needs, Step

STEPS: tuple[Step, ...] = (
    Step(
        name="collect_opt_outs",
        module="components.sources.collect_opt_outs",
        output="opt_outs",
        reads_sources=True,
    ),
    Step(
        name="ingest_sources",
        module="components.sources.ingest_sources",
        inputs=("opt_outs",),
        output="raw_files",
        reads_sources=True,
    ),
    Step(
        name="ingest_issues",
        module="components.issues.ingest_issues",
        inputs=("opt_outs",),
        output="raw_issues",
        reads_sources=True,
        in_pieces=True,
    ),
    Step(
        name="ingest_commits",
        module="components.commits.ingest_commits",
        inputs=("opt_outs",),
        output="raw_commits",
        reads_sources=True,
    ),
    Step(
        name="filter_quality",
        module="components.corpus.filter_quality",
        inputs=("raw_files",),
        output="quality_files",
        reads_sources=True,
        resumable=True,
        in_pieces=True,
    ),
    Step(
        name="convert_notebooks",
        module="components.notebooks.convert_notebooks",
        inputs=("raw_files",),
        output="notebook_files",
        resumable=True,
        in_pieces=True,
    ),
    Step(
        name="render_issues",
        module="components.issues.render_issues",
        inputs=("raw_issues",),
        output="issue_files",
        resumable=True,
        in_pieces=True,
    ),
    Step(
        name="render_commits",
        module="components.commits.render_commits",
        inputs=("raw_commits",),
        output="commit_files",
        resumable=True,
        in_pieces=True,
    ),
    Step(
        name="permit_files",
        module="components.corpus.permit_files",
        inputs=("quality_files", "notebook_files", "issue_files", "commit_files", "opt_outs"),
        output="permitted_files",
        resumable=True,
        in_pieces=True,
    ),
    Step(
        name="train_pii_tagger",
        module="components.redaction.train_pii_tagger",
        inputs=("permitted_files",),
        output="pii_tagger",
    ),
    Step(
        name="redact_secrets",
        module="components.redaction.redact_secrets",
        inputs=("permitted_files", "pii_tagger"),
        output="redacted_files",
        resumable=True,
        in_pieces=True,
    ),
    Step(
        name="deduplicate",
        module="components.corpus.deduplicate",
        inputs=("redacted_files",),
        output="unique_files",
        resumable=True,
        in_pieces=True,
    ),
    Step(
        name="collect_problems",
        module="components.evaluation.collect_problems",
        output="eval_problems",
        reads_sources=True,
    ),
    Step(
        name="decontaminate",
        module="components.corpus.decontaminate",
        inputs=("unique_files", "eval_problems"),
        output="clean_files",
        resumable=True,
        in_pieces=True,
    ),
    Step(
        name="split_corpus",
        module="components.corpus.split_corpus",
        inputs=("clean_files",),
        output="corpus_splits",
        resumable=True,
        in_pieces=True,
    ),
    Step(
        name="train_tokenizer",
        module="components.tokens.train_tokenizer",
        inputs=("corpus_splits",),
        output="tokenizer",
        reads_sources=True,
    ),
    Step(
        name="tokenize_corpus",
        module="components.tokens.tokenize_corpus",
        inputs=("corpus_splits", "tokenizer"),
        output="token_shards",
        resumable=True,
        in_pieces=True,
    ),
    Step(
        name="describe_corpus",
        module="components.corpus.describe_corpus",
        inputs=(
            *("raw_files", "raw_issues", "raw_commits", "quality_files", "notebook_files", "issue_files"),
            *("commit_files", "permitted_files", "redacted_files", "unique_files", "clean_files", "corpus_splits"),
            "token_shards",
        ),
        output="dataset_card",
    ),
    Step(
        name="pretrain",
        module="components.training.pretrain",
        inputs=("token_shards", "tokenizer"),
        output="checkpoint",
        sections=("model",),
        needs=Needs.GPU,
        reads_sources=True,
        resumable=True,
        tracked=True,
        has_ranks=True,
    ),
    Step(
        name="export_weights",
        module="components.training.export_weights",
        inputs=("checkpoint", "tokenizer"),
        output="bundle",
    ),
    Step(
        name="evaluate_model",
        module="components.evaluation.evaluate_model",
        inputs=("bundle", "corpus_splits", "eval_problems"),
        output="eval_report",
        needs=Needs.GPU,
    ),
)

DATA_ARTIFACTS: tuple[str, ...] = tuple(step.output for step in STEPS[: [s.name for s in STEPS].index("pretrain")])
"""What a data version holds: every artifact before training."""


def step_named(name: str) -> Step:
    """The row called `name`; KeyError lists the names there are."""
    for step in STEPS:
        if step.name == name:
            return step
    raise KeyError(f"no step is called {name!r}; the steps are: {', '.join(step.name for step in STEPS)}")


def step_making(artifact: str) -> Step:
    """The row whose output is `artifact`; KeyError lists the artifacts there are."""
    for step in STEPS:
        if step.output == artifact:
            return step
    raise KeyError(f"no step makes {artifact!r}; the artifacts are: {', '.join(s.output for s in STEPS)}")


def steps_toward(artifact: str) -> tuple[Step, ...]:
    """Every step that `artifact` stands on and the one that makes it, upstream first, in catalog order."""
    wanted = {artifact}
    chosen: list[Step] = []
    for step in reversed(STEPS):
        if step.output in wanted:
            chosen.append(step)
            wanted.update(step.inputs)
    if not chosen:
        step_making(artifact)
    return tuple(reversed(chosen))
