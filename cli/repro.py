"""`unlearn repro`: what `dvc repro` does, with the stale shards trained in parallel."""

import time
from dataclasses import dataclass
from typing import Annotated

import typer
from unlearn.cli.answers import Answer
from unlearn.cli.batch_answer import BatchAnswer, batch_answer, describe_hold
from unlearn.cli.engine_choice import COMMAND_VARIABLE, EngineChoice, EngineName
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, names, plural, say
from unlearn.cli.pipeline_run import PipelineRun
from unlearn.cli.run_progress import run_progress
from unlearn.cli.switch_slices import check_switches, switch_slices
from unlearn.stages.context import Context, open_project
from unlearn.stages.dvc.pipeline import (
    check_code_is_a_dependency,
    check_figures_are_where_they_belong,
    check_lists_are_read,
    check_off_is_read,
    check_rows_are_dependencies,
    model_folders,
)
from unlearn.stages.dvc.recording import mend_lock
from unlearn.stages.dvc.session import Session
from unlearn.stages.engines.pool import Pool
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.check import check_ledger
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import Project, find_project
from unlearn.stages.project.timings import (
    CHECK,
    EVERYTHING_ELSE,
    Timing,
    forget_seconds,
    read_timings,
    record_timings,
)
from unlearn.stages.requests.batch import find_batch, run_now
from unlearn.stages.requests.request import settle_list
from unlearn.stages.training.method_record import read_record
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
        That of the run's report; None if nothing was run.
    batch
        The requests that wait for each other, so that nothing was run; None if there was a run.
    """

    trained: list[str]
    rows_trained: int
    slices: dict[str, int]
    verdict: str | None
    batch: BatchAnswer | None = None


def repro(
    called: typer.Context,
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
    engine: Annotated[
        EngineName,
        typer.Option(
            help="Where shards are trained: in processes of this machine, on a Ray cluster, or by "
            "a command for each shard. The models have the same bytes.",
        ),
    ] = EngineName.LOCAL,
    command: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="The command that trains one shard, with {shard} for its name and {root} for the "
            "project's folder. It needs --engine command. The default is that of the environment "
            f"variable {COMMAND_VARIABLE}.",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="The address of a Ray cluster; auto is the one that this machine is a node of. It "
            "needs --engine ray. The default is that of the environment variable RAY_ADDRESS; "
            "without it, a cluster of this machine is started for the run.",
        ),
    ] = None,
    now: Annotated[
        bool,
        typer.Option("--now", help="Do not wait for the batch of `requests.batch`, and log that."),
    ] = False,
    switch_off: Annotated[
        bool,
        typer.Option(
            "--switch-off",
            help="Switch off the slices that hold forgotten rows, and those after them, instead "
            "of training them again. It needs `train.options.layers_by_slice`.",
        ),
    ] = False,
    switch_on: Annotated[
        bool,
        typer.Option("--switch-on", help="Switch all slices on, and train those that were off."),
    ] = False,
    exit_code: Annotated[
        bool,
        typer.Option("--exit-code", help="Exit with 1 if requests wait, so that nothing was run."),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Bring the models up to date with the dataset, the settings and the forget list.

    It does what `dvc repro` does, and trains shards in parallel. While requests wait for their
    batch, it runs nothing.
    """
    choice = EngineChoice(engine, jobs, command, address)
    # Before the project is looked for: what is wrong with the line itself is said first.
    choice.check()
    run = RunChoice(now, switch_off, switch_on)
    result = run_pipeline(find_project(), choice, run, called.obj)
    emit(result, as_json=as_json, text=lambda: _describe(result))
    if exit_code and result.batch is not None:
        raise typer.Exit(1)


COMMAND = Command(repro, example="unlearn repro --jobs 4", answer=ReproAnswer)


@dataclass(frozen=True)
class RunChoice:
    """What a run does in addition to training, by the options of the same names."""

    now: bool = False
    switch_off: bool = False
    switch_on: bool = False


def run_pipeline(
    project: Project, engine: EngineChoice, run: RunChoice, started: float | None = None
) -> ReproAnswer:
    """Bring the models up to date, unless requests wait for their batch.

    Parameters
    ----------
    project
        The project.
    engine
        Where shards are trained.
    run
        What is done in addition to training.
    started
        When the command began, by `time.perf_counter`; now by default.

    Raises
    ------
    UnlearnError
        If options do not fit together, another run goes on, or a stage fails.
    """
    engine.check()
    check_switches(switch_off=run.switch_off, switch_on=run.switch_on)
    context = open_project(project)
    with exclusive(project.lock_file("repro"), "another `unlearn repro`"):
        if waiting := waiting_batch(context, now=run.now):
            return waiting
        if run.switch_off or run.switch_on:
            # A list that the run would refuse changes no setting either.
            check_requests(context, show=False)
            _settle(context)
            context = switch_slices(context, switch_off=run.switch_off, switch_on=run.switch_on)
        return bring_up_to_date(context, engine, started)


def waiting_batch(context: Context, *, now: bool) -> ReproAnswer | None:
    """Return the answer of a run that has to wait; None if nothing keeps it.

    Parameters
    ----------
    context
        The project.
    now
        Whether to end the wait, and to log it.
    """
    if context.params.requests.batch is None:
        return None
    check_requests(context, show=False)
    _settle(context)
    if now:
        if run_now(context):
            say("requests waited for their batch; the log says that they wait no longer")
        return None
    batch = find_batch(context.project, context.params, context.read_list())
    if batch is None or not batch.holds:
        return None
    return ReproAnswer(
        trained=[], rows_trained=0, slices={}, verdict=None, batch=batch_answer(batch)
    )


def bring_up_to_date(
    context: Context, choice: EngineChoice, started: float | None = None
) -> ReproAnswer:
    """Run the pipeline; return what was trained and the verdict.

    Parameters
    ----------
    context
        The project.
    choice
        Where shards are trained.
    started
        When the command began, by `time.perf_counter`; now by default.
    """
    project, pool = context.project, Pool()
    engine = choice.make(context, pool)
    started = time.perf_counter() if started is None else started
    deciding_attack(context.params)  # a wrong name is an error before any training
    check_lists_are_read(project, context.params)
    check_off_is_read(project, context.params)
    check_rows_are_dependencies(project, context.params)
    check_code_is_a_dependency(project, context.params)
    check_figures_are_where_they_belong(project, context.params)
    with run_progress(project, choice.parallel) as shown, Session(project) as dvc, pool:
        # DVC is imported meanwhile.
        if damage := mend_lock(project):
            say(f"{damage}; restoring the last committed one")
        check_requests(context)
        _settle(context)
        before = _method_records(context)
        with engine:
            run = PipelineRun(project, engine, pool, dvc, choice.parallel, shown)
            run.run(context)
        # An exit in the middle of their ending would be called a leak, on standard error.
        pool.finish()
    if run.trained:
        _record_everything_else(run, time.perf_counter() - started)
    trained = [run.trained[shard] for shard in sorted(run.trained)]
    methods = [name for name, found in _method_records(context).items() if before[name] != found]
    timings = read_timings(project) if methods else {}
    made_by = model_folders(context.params)
    return ReproAnswer(
        trained=methods or [done.shard for done in trained],
        rows_trained=sum(done.timing.rows for done in trained)
        + sum(timings[made_by[name][0]].rows for name in methods),
        slices={done.shard: done.first_slice for done in trained},
        verdict=read_public(project).verdict,
    )


def _record_everything_else(run: PipelineRun, seconds: float) -> None:
    """Record what a run took besides the work that depends on what it was asked for."""
    timings = read_timings(run.project)
    parts = {"shard": "shard", "verify": CHECK}
    known = sum(
        timings[part].seconds
        for stage, part in parts.items()
        if stage in run.ran and part in timings
    )
    if "forget" in run.ran:
        known += forget_seconds(timings, timings["forget"].files)
    rest = max(0.0, seconds - run.training_seconds - known)
    record_timings(run.project, {EVERYTHING_ELSE: Timing(round(rest, 4))})


def check_requests(context: Context, *, show: bool = True) -> None:
    """Stop if a request left the forget list; print what else the history says.

    Parameters
    ----------
    context
        The project.
    show
        Whether to print.

    Raises
    ------
    InputError
        If a line that was on the list is not, or the list has conflict markers.
    """
    context.read_list()
    ledger = check_ledger(context.project, context.params.ledger.branch, context)
    if problem := ledger.problem():
        raise problem
    for note in ledger.notes() if show else ():
        say(f"note: {note}")


def _settle(context: Context) -> None:
    if by_hand := settle_list(context):
        say(f"{plural(by_hand, 'line')} written by hand in data/forget_list.txt, now tokens")


def _method_records(context: Context) -> dict[str, str | None]:
    """Return the digest of what each post-hoc method read; None where it has not run."""
    found: dict[str, str | None] = {}
    for name in context.params.methods:
        try:
            found[name] = read_record(context.project.unlearned / name, name).inputs
        except InputError:
            found[name] = None
    return found


def _describe(answer: ReproAnswer) -> str:
    if answer.batch is not None:
        return describe_hold(answer.batch)
    if not answer.trained:
        return f"no training was necessary; verdict: {answer.verdict}"
    return (
        f"trained {names(answer.trained)} ({plural(answer.rows_trained, 'row')} read); "
        f"verdict: {answer.verdict}"
    )
