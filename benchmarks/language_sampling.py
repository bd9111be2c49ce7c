"""What `alt_po` takes to sample alternative answers, as a share of its time."""

import argparse
import time
from pathlib import Path

from unlearn.stages.context import Context
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.rows.forget_list import render
from unlearn.stages.training.method_record import RETRAIN, read_young
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.unlearn import stage as unlearn_stage
from unlearn.stages.unlearn.text.alt_po import sampled_answers
from unlearn.stages.unlearn.text.apply import make_problem

from benchmarks.harness import say, show
from benchmarks.language_methods import drawn_persons
from benchmarks.language_posthoc import SHARE, tuned_project

METHOD = "alt_po"

_SIZES = ("tiny", "small")


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    """Print a line for each size of the base and each draw of authors."""
    sizes = arguments.sizes or (_SIZES[:1] if arguments.quick else _SIZES)
    seeds = range(1 if arguments.quick else arguments.seeds)
    lines = []
    for size in sizes:
        context = tuned_project(folder / size, size, guarded=not arguments.unguarded)
        lines += [[size, *measure_draw(context, seed)] for seed in seeds]
    show(
        "language-sampling",
        (
            "base",
            "forget rows",
            f"{METHOD}, s",
            "sampling, s",
            f"sampling / {METHOD}",
            f"{METHOD} / retrain",
            "stopped by",
        ),
        lines,
        "Processor seconds of the method on rows and a model that are open. A tenth of the trained "
        "authors is forgotten; each line is another draw.",
    )


def measure_draw(context: Context, seed: int) -> list[object]:
    """Return the columns of one draw.

    Parameters
    ----------
    context
        A project with its original.
    seed
        Draws the authors to forget.
    """
    context.project.forget_list.write_bytes(render(drawn_persons(context, SHARE, seed)))
    forget_stage.run(context)
    unlearn_stage.run_young(context)
    retrained = unlearn_stage.run(context, RETRAIN)
    done = unlearn_stage.run(context, METHOD)
    sampling = sampling_seconds(context)
    whole = done.processor_seconds
    say(f"  {done.forgotten} rows: {METHOD} {whole:.1f} s, sampling {sampling:.1f} s")
    return [
        done.forgotten,
        f"{whole:.2f}",
        f"{sampling:.2f}",
        f"{sampling / whole:.2f}",
        f"{whole / retrained.processor_seconds:.2f}",
        str(done.record.stopped_by).replace("_", " "),
    ]


def sampling_seconds(context: Context) -> float:
    """Return the processor time of sampling the answers that the method samples."""
    original = read_shard_model(context.project.original, "models/original")
    rows = unlearn_stage.read_rows(context)
    problem = make_problem(context.posthoc(), METHOD, original, rows, read_young(context))
    started = time.process_time()
    sampled_answers(problem)
    return time.process_time() - started
