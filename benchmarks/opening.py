"""What the stage of a post-hoc method takes besides the method: opening rows and the original.

`unlearn repro` runs the stages of all methods in one process, with the libraries loaded once. What
is left for each of them is reading the rows and the original, their digests, what the method needs
to start, and writing its model. Each part is measured in processor time, on Adult and on the
example of made-up authors.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from unlearn.stages.context import Context
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.stopwatch import Stopwatch
from unlearn.stages.project.threads import use_one_thread
from unlearn.stages.recipe import stage as recipe_stage
from unlearn.stages.rows.forget_list import render
from unlearn.stages.rows.shard_file import governing_tokens, read_shard
from unlearn.stages.shard import stage as shard_stage
from unlearn.stages.training.method_record import RETRAIN, WHOLE, inputs_digest
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.unlearn import stage as unlearn_stage

from benchmarks.adult import write_dataset
from benchmarks.harness import machine, new_project, say, show, workplace

#: Persons who are forgotten, as a share of those whom the original is trained on.
SHARE = 0.02

HEADER = (
    "stage, s",
    "method, s",
    "reading rows, s",
    "reading the original, s",
    "digests, s",
    "reading rows / stage",
)


def main() -> None:
    """Print a table for each project."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/adult"))
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    parser.add_argument("--keep", type=Path, help="make the projects here and leave them")
    arguments = parser.parse_args()
    use_one_thread()
    print(machine())
    with workplace(arguments.keep) as folder:
        for name, context in _projects(folder, arguments):
            retained, lines = measure(context)
            show(
                f"opening-{name}",
                (f"{name}, {retained:,} retained rows", *HEADER),
                lines,
                "Processor seconds. The parts are measured by themselves, after the stage.",
            )


def _projects(folder: Path, arguments: argparse.Namespace) -> Iterator[tuple[str, Context]]:
    """Yield the name of each project and the project, with its original."""
    # Torch reads the number of threads when it is loaded: after `use_one_thread`.
    from unlearn.stages.train import stage as train_stage

    from benchmarks.language_posthoc import tuned_project

    source = folder / "adult.csv"
    files = [arguments.data / name for name in ("adult-train.csv", "adult-test.csv")]
    write_dataset(files, source, 20 if arguments.quick else 1)
    context = new_project(folder / "adult", source, "--template", "posthoc").context()
    recipe_stage.run(context)
    shard_stage.run(context)
    train_stage.run_whole(context)
    yield "adult", context
    yield "authors", tuned_project(folder / "authors", "tiny")


def measure(context: Context) -> tuple[int, list[list[object]]]:
    """Return the number of retained rows, a line for each method, and one of sums.

    Parameters
    ----------
    context
        A project with its original.
    """
    shard = read_shard(context.project.shard_file(WHOLE), WHOLE).rows
    persons = sorted(set(governing_tokens(shard)))
    count = max(1, round(SHARE * len(persons)))
    context.project.forget_list.write_bytes(render(persons[:count]))
    forget_stage.run(context)
    unlearn_stage.run_young(context)
    # The first method to run also loads what all of them need.
    unlearn_stage.run(context, "finetune")
    shutil.rmtree(context.project.unlearned / "finetune")
    found = {name: _of_method(context, name) for name in context.posthoc().unlearn.methods}
    updates = [parts for name, parts in found.items() if name != RETRAIN]
    found["all but retrain"] = [sum(parts) for parts in zip(*updates, strict=True)]
    retained = unlearn_stage.read_rows(context).retain.num_rows
    return retained, [_line(name, parts) for name, parts in found.items()]


def _of_method(context: Context, name: str) -> list[float]:
    """Return the processor seconds of a stage, of its method, and of what it reads."""
    stage, reading, opening, digests = (Stopwatch() for _ in range(4))
    with stage.running():
        done = unlearn_stage.run(context, name)
    with reading.running():
        rows = unlearn_stage.read_rows(context)
    with opening.running():
        original = read_shard_model(context.project.original, "original")
    with digests.running():
        inputs_digest(context.posthoc(), name, original.digest, rows)
    say(f"  {name}: {stage.processor_seconds:.3f} s")
    parts = [each.processor_seconds for each in (stage, reading, opening, digests)]
    return [parts[0], done.processor_seconds, *parts[1:]]


def _line(name: str, parts: list[float]) -> list[object]:
    return [name, *(f"{seconds:.3f}" for seconds in parts), f"{parts[2] / parts[0]:.3f}"]


if __name__ == "__main__":
    main()
