"""`unlearn stage`: what dvc.yaml calls."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from unlearn.cli.output import plural, progress, say
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import find_project

if TYPE_CHECKING:
    from unlearn.stages.context import Context
    from unlearn.stages.train.stage import Trained

#: Sums split over threads round differently: one thread for each shard model, whatever is set.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def stage(
    name: Annotated[
        str,
        typer.Argument(help="shard, forget, train[@sNNN], unlearn@METHOD, aggregate or verify"),
    ],
) -> None:
    """Run one stage, as dvc.yaml does; `dvc repro` is the way to run them all."""
    use_one_thread()
    run, _, shard = name.partition("@")
    if run == "train" and shard:
        _train(shard)
    elif run == "unlearn" and shard:
        _unlearn(shard)
    elif name in _STAGES:
        _STAGES[name]()
    else:
        raise InputError(
            f"there is no stage {name!r}",
            "stages: shard, forget, train@sNNN, train, unlearn@METHOD, aggregate, verify",
        )


def use_one_thread() -> None:
    """Keep numerical libraries that are loaded from now on to one thread."""
    for variable in _ONE_THREAD:
        os.environ[variable] = "1"


def _open() -> "Context":
    from unlearn.stages.context import open_project

    return open_project(find_project())


def _timed(context: "Context", name: str, seconds: float, rows: int = 0) -> None:
    from unlearn.stages.project.timings import Timing, record_timings

    record_timings(context.project, {name: Timing(round(seconds, 4), rows)})


def _shard() -> None:
    import time

    from unlearn.stages.dvc.pipeline import check_rows_are_dependencies
    from unlearn.stages.shard.stage import run

    context = _open()
    check_rows_are_dependencies(context.project, context.params)
    started = time.perf_counter()
    with progress("rows", None) as advance:
        counts = run(context, advance)
    holdout = counts.pop("holdout")
    rows = sum(counts.values())
    _timed(context, "shard", time.perf_counter() - started, rows + holdout)
    say(f"shard: {plural(rows, 'row')} in {plural(len(counts), 'shard')}, {holdout:,} held out")
    if empty := [shard for shard, count in counts.items() if count == 0]:
        say(f"shard: no rows fall into {', '.join(empty)}; fewer shards would do")


def _forget() -> None:
    import time

    from unlearn.stages.forget.stage import run

    context = _open()
    started = time.perf_counter()
    done = run(context)
    _timed(context, "forget", time.perf_counter() - started)
    say(
        f"forget: {plural(done.forgotten, 'row')} on the list, "
        f"{plural(len(done.rewritten), 'file')} rewritten"
    )
    if done.without_rows:
        say(f"forget: {plural(done.without_rows, 'line')} of the list without rows in the dataset")


def _train(shard: str) -> None:
    from unlearn.stages.dvc.pipeline import check_code_is_a_dependency
    from unlearn.stages.project.timings import record_timings
    from unlearn.stages.train.stage import remove_others, run

    context = _open()
    check_code_is_a_dependency(context.project, context.params)
    remove_others(context)
    trained = run(context, shard)
    record_timings(context.project, {f"train@{shard}": trained.timing})
    say(describe_training(trained))


def _train_whole() -> None:
    from unlearn.stages.dvc.pipeline import check_code_is_a_dependency
    from unlearn.stages.project.timings import record_timings
    from unlearn.stages.train.stage import run_whole

    context = _open()
    check_code_is_a_dependency(context.project, context.params)
    trained = run_whole(context)
    record_timings(context.project, {"train": trained.timing})
    up_to_date = trained.first_slice > trained.slices
    say(f"train: {plural(trained.rows, 'row')}, {'up to date' if up_to_date else 'trained'}")


def _unlearn(method: str) -> None:
    from unlearn.stages.dvc.pipeline import check_code_is_a_dependency
    from unlearn.stages.project.timings import record_method
    from unlearn.stages.training.method_record import remove_other_models
    from unlearn.stages.unlearn.stage import run

    context = _open()
    remove_other_models(context)
    check_code_is_a_dependency(context.project, context.params)
    done = run(context, method)
    _timed(context, f"unlearn@{method}", done.seconds or 0.0, done.retained)
    record_method(context.project, method, done.seconds)
    record = done.record
    if record.why_not is not None:
        said = f"not applicable: {record.why_not}"
    elif done.seconds is None:
        said = "up to date"
    else:
        said = f"{record.label}, {str(record.stopped_by).replace('_', ' ')}"
    say(f"unlearn@{method}: {plural(done.forgotten, 'row')} to forget, {said}")


def describe_training(trained: "Trained") -> str:
    """Return a line that says what training a shard came to."""
    name = f"train@{trained.shard}: {plural(trained.rows, 'row')}"
    if trained.first_slice > trained.slices:
        return f"{name}, up to date"
    if trained.kind == "empty":
        return f"{name} left, no model"
    if trained.kind == "constant":
        return f"{name} of one class, a constant model"
    if trained.slices == 1:
        return f"{name}, trained"
    verb = "trained from" if trained.first_slice == 1 else "resumed at"
    return f"{name}, {verb} slice {trained.first_slice} of {trained.slices}"


def _aggregate() -> None:
    from unlearn.stages.aggregate.stage import run

    done = run(_open())
    say(f"aggregate: {plural(len(done.members), 'member')}")
    if done.empty:
        say(f"aggregate: {', '.join(done.empty)} lost all rows and left the ensemble")


def _verify() -> None:
    import time

    from unlearn.cli.workers import retrain_side_by_side
    from unlearn.stages.verify.stage import run

    context = _open()
    started = time.perf_counter()
    report = run(context, retrain=retrain_side_by_side)
    _timed(context, "verify", time.perf_counter() - started)
    say(f"verify: {report['verdict']}")
    for reason in report["reasons"]:
        say(f"verify: {reason}")


_STAGES: dict[str, Callable[[], None]] = {
    "shard": _shard,
    "forget": _forget,
    "train": _train_whole,
    "aggregate": _aggregate,
    "verify": _verify,
}
