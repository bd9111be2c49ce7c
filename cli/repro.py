"""`unlearn repro`: what `dvc repro` does, with the stale shards trained in parallel."""

import os
import time
from typing import Annotated

import typer
from unlearn.cli.answers import Answer
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, names, plural, progress, say
from unlearn.cli.stage.train import describe_training
from unlearn.cli.workers import Workers
from unlearn.stages.audit.status import applied_tokens, list_is_applied
from unlearn.stages.context import Context, open_project
from unlearn.stages.dvc.command import run_dvc
from unlearn.stages.dvc.pipeline import (
    check_code_is_a_dependency,
    check_figures_are_where_they_belong,
    check_rows_are_dependencies,
)
from unlearn.stages.dvc.recording import mend_lock, record_trained, stale_shards
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.check import check_ledger
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import Project, find_project
from unlearn.stages.project.timings import Timing, read_timings, record_timings
from unlearn.stages.requests.request import settle_list, touched_by
from unlearn.stages.train.stage import Trained, remove_others
from unlearn.stages.training.method_record import read_record, remove_other_models
from unlearn.stages.training.refusals import check_refusals, refused_shards
from unlearn.stages.verify.membership.registry import deciding_attack
from unlearn.stages.verify_report.reading import read_public


class ReproAnswer(Answer):
    """What a run trained.

    Parameters
    ----------
    trained
        Shards, or post-hoc methods.
    rows_trained
        Rows that were read; a row counts in each slice that reads it.
    slices
        The first slice that was trained, by shard.
    verdict
        That of the run's report.
    """

    trained: list[str]
    rows_trained: int
    slices: dict[str, int]
    verdict: str


def repro(
    jobs: Annotated[
        int | None,
        typer.Option(
            "-j",
            "--jobs",
            metavar="N",
            min=1,
            help="The number of shards to train in parallel. The default is the number of "
            "processors.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Bring the models up to date with the dataset, the settings and the forget list.

    It does what `dvc repro` does, and trains shards in parallel.
    """
    context = open_project(find_project())
    with exclusive(context.project.lock_file("repro"), "another `unlearn repro`"):
        result = bring_up_to_date(context, jobs or os.cpu_count() or 1)
    emit(result, as_json=as_json, text=lambda: _describe(result))


COMMAND = Command(repro, example="unlearn repro --jobs 4", answer=ReproAnswer)


def bring_up_to_date(context: Context, jobs: int) -> ReproAnswer:
    """Run the pipeline; return what was trained and the verdict.

    Parameters
    ----------
    context
        The project.
    jobs
        Number of parallel trainings.
    """
    project = context.project
    started = time.perf_counter()
    deciding_attack(context.params)  # a wrong name is an error before any training
    check_rows_are_dependencies(project, context.params)
    check_code_is_a_dependency(project, context.params)
    check_figures_are_where_they_belong(project, context.params)
    if damage := mend_lock(project):
        say(f"{damage}; restoring the last committed one")
    check_requests(context)
    if by_hand := settle_list(context):
        say(f"{plural(by_hand, 'line')} written by hand in data/forget_list.txt, now tokens")
    if context.params.kind == "posthoc":
        return _run_methods(context)
    trained: list[Trained] = []
    with Workers() as workers:
        # While DVC works through the first stages, processes load what training takes.
        workers.start(min(jobs, _likely_stale(context)), context.params.train)
        run_dvc(project.root, "repro", "forget")
        if not list_is_applied(project):
            # DVC took a line that came while the stage ran for applied.
            run_dvc(project.root, "repro", "--force", "--single-item", "forget")
        stale = stale_shards(context)
        training = time.perf_counter()
        if stale:
            remove_others(context)
            workers.start(min(jobs, len(stale)), context.params.train)
            trained = _train(workers, project, stale)
        training = time.perf_counter() - training
    if any(done.reason for done in trained):
        check_refusals(context, refused_shards(context))
    if trained:
        record_timings(project, {f"train@{done.shard}": done.timing for done in trained})
        record_trained(context, {done.shard for done in trained})
    run_dvc(project.root, "repro")
    if trained:
        overhead = time.perf_counter() - started - training
        record_timings(project, {"repro": Timing(round(overhead, 4))})
    return ReproAnswer(
        trained=sorted(done.shard for done in trained),
        rows_trained=sum(done.timing.rows for done in trained),
        slices={done.shard: done.first_slice for done in sorted(trained, key=_by_shard)},
        verdict=read_public(project).verdict,
    )


def check_requests(context: Context) -> None:
    """Stop if a request left the forget list; print what else the history says.

    Raises
    ------
    InputError
        If a line that was on the list is not, or the list has conflict markers.
    """
    context.read_list()
    ledger = check_ledger(context.project, context.params.ledger.branch, context)
    if problem := ledger.problem():
        raise problem
    for note in ledger.notes():
        say(f"note: {note}")


def _run_methods(context: Context) -> ReproAnswer:
    """Run the pipeline of a model without shards: one stage after another, as `dvc repro` does."""
    project = context.project
    before = _method_records(context)
    remove_other_models(context)
    run_dvc(project.root, "repro", "forget")
    if not list_is_applied(project):
        # DVC took a line that came while the stage ran for applied.
        run_dvc(project.root, "repro", "--force", "--single-item", "forget")
    run_dvc(project.root, "repro")
    timings = read_timings(project)
    ran = [name for name, found in _method_records(context).items() if before.get(name) != found]
    return ReproAnswer(
        trained=ran,
        rows_trained=sum(timings[f"unlearn@{name}"].rows for name in ran),
        slices={},
        verdict=read_public(project).verdict,
    )


def _method_records(context: Context) -> dict[str, str | None]:
    """Return the digest of what each post-hoc method read; None where it has not run."""
    found: dict[str, str | None] = {}
    for name in context.params.methods:
        try:
            found[name] = read_record(context.project.unlearned / name, name).inputs
        except InputError:
            found[name] = None
    return found


def _likely_stale(context: Context) -> int:
    """Return how many shards will probably have to be trained, by the list and the lock."""
    if not context.project.lock.is_file():
        return len(context.params.sharding.shards)
    new = set(context.read_list().tokens) - applied_tokens(context.project)
    return len(touched_by(context, new))


def _by_shard(done: Trained) -> str:
    return done.shard


def _train(workers: Workers, project: Project, shards: list[str]) -> list[Trained]:
    trained = []
    with progress("training shards", len(shards)) as advance:
        for done in workers.train(project, shards):
            trained.append(done)
            say(describe_training(done))
            advance(1)
    return trained


def _describe(answer: ReproAnswer) -> str:
    if not answer.trained:
        return f"no training was necessary; verdict: {answer.verdict}"
    return (
        f"trained {names(answer.trained)} ({plural(answer.rows_trained, 'row')} read); "
        f"verdict: {answer.verdict}"
    )
