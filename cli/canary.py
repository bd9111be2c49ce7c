"""`unlearn canary`: adds synthetic records, which show the power of an attack."""

import csv
import io
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from unlearn.cli import panels
from unlearn.cli.answers import Answer
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, names, plural, progress
from unlearn.cli.text_edits import (
    replace_file,
    restored_on_error,
    text_of,
    with_dependency,
    with_setting,
)
from unlearn.stages.context import Context, open_project
from unlearn.stages.dvc.command import run_dvc, running_reader
from unlearn.stages.dvc.pipeline import check_rows_are_dependencies, read_pipeline
from unlearn.stages.errors import BusyError, InputError
from unlearn.stages.project.locks import PATIENCE, exclusive
from unlearn.stages.project.paths import Project, find_project
from unlearn.stages.reading.needed_columns import require_column
from unlearn.stages.reading.picture_files import PictureFolder
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.canaries import (
    CANARIES_PATH,
    Aggregates,
    canary_columns,
    canary_id,
    canary_number,
    included,
    make_canary,
    new_numbers,
    next_number,
)
from unlearn.stages.rows.forget_list import place_of_line
from unlearn.stages.rows.schema import feature_columns, target_column, weight_column
from unlearn.stages.rows.texts import as_text
from unlearn.stages.rows.tokens import Kind

_POLL = 0.1


class CanaryAnswer(Answer):
    """The canaries that were added.

    Parameters
    ----------
    planted
        How many records.
    trained_on, left_out
        How many of them the coin gave to either side.
    total
        How many there are now.
    shards
        Shards that the new records are trained in.
    file
        The file of the records.
    """

    planted: int
    trained_on: int
    left_out: int
    total: int
    shards: list[str]
    file: str


def canary(
    count: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="The number of records to add.",
            rich_help_panel=panels.DATA,
        ),
    ],
    as_json: JsonFlag = False,
) -> None:
    """Add synthetic records with random targets, to test the membership attacks.

    A keyed fair coin decides which of them are trained on. An attack that finds out which
    ones would also find records that were not forgotten.
    """
    project = find_project()
    with exclusive(project.lock_file("repro"), "an `unlearn repro`, or another `unlearn canary`,"):
        wait_for_dvc(project)
        result = plant(open_project(project), count)
    emit(result, as_json=as_json, text=lambda: _describe(result))


COMMAND = Command(canary, example="unlearn canary --count 200", answer=CanaryAnswer)


def plant(context: Context, count: int) -> CanaryAnswer:
    """Add canaries to the project, and make the pipeline depend on them.

    All or nothing: on any error every file is as it was.

    Parameters
    ----------
    context
        The project.
    count
        How many to add to those that there are.

    Raises
    ------
    InputError
        If dataset or canaries cannot be read, or params.yaml or dvc.yaml not be added to.
    """
    project, dataset = context.project, context.params.dataset
    if dataset.modality == "text":
        raise InputError(
            "canaries are synthetic rows with a random class, and rows of text have no class; "
            "nothing was changed",
            "add rows with random answers to the dataset instead, as in `unlearn init --example "
            "authors`",
        )
    name = dataset.canaries or CANARIES_PATH
    path = project.root / name
    if dataset.canaries is None and path.exists():
        raise InputError(
            f"{name} is there already, but params.yaml does not name it; nothing was changed",
            f"set `dataset.canaries: {name}` if its records are canaries, or move the file",
        )
    present = _present(context, path, name)
    edits = _edits(context, name)
    rows = _new_rows(context, present, count)
    pointer = path.with_name(f"{path.name}.dvc")
    with restored_on_error([path, pointer, path.parent / ".gitignore", *edits]):
        replace_file(path, _file_with(path, rows))
        run_dvc(project.root, "add", name)
        for file, text in edits.items():
            replace_file(file, text.encode())
    return _summary(context, rows, name, total=len(present) + count)


def wait_for_dvc(project: Project) -> None:
    """Return at a moment when no running stage reads params.yaml.

    DVC records the dependencies of a stage when the stage has ended: it would record canaries as
    put into shards that the stage did not read.
    """
    deadline = time.monotonic() + PATIENCE
    while running_reader(project, project.params) is not None:
        if time.monotonic() > deadline:
            raise BusyError(
                f"a stage still reads params.yaml after {PATIENCE:.0f} s; nothing was changed",
                "try again when the run has ended",
            )
        time.sleep(_POLL)


def _present(context: Context, path: Path, name: str) -> list[str]:
    """Return the ids of the canaries that there are; refuse a file that cannot be added to."""
    if not path.exists():
        return []
    columns = canary_columns(context.params.dataset)
    if path.suffix.lower() != ".csv" or not path.is_file():
        raise InputError(f"{name} is not a CSV file, and canaries can only be added to CSV")
    ids: list[str] = []
    reading = Reading.of(context.params.dataset.of_canaries(name))
    for batch in read_batches(path, name, reading=reading):
        if batch.column_names != columns:
            raise InputError(
                f"{name} does not have the columns that the settings name, in their order"
            )
        ids += batch[context.params.dataset.id].to_pylist()
    return ids


def _edits(context: Context, name: str) -> dict[Path, str]:
    """Return the new text of each file that does not name the canaries yet."""
    project, params = context.project, context.params
    read_pipeline(project)  # an error of its own where it cannot be read at all
    edits = {}
    if params.dataset.canaries is None:
        edits[project.params] = with_setting(
            text_of(project.params), "dataset", "canaries", name, after="path"
        )
    named = params.dataset.model_copy(update={"canaries": name})
    try:
        check_rows_are_dependencies(project, params.model_copy(update={"dataset": named}))
    except InputError:
        edits[project.pipeline] = with_dependency(text_of(project.pipeline), "shard", name)
    return edits


def _new_rows(context: Context, present: Iterable[str], count: int) -> list[list[str]]:
    """Make canaries with unused ids: of no record, no person and no line of the forget list."""
    dataset, params = context.params.dataset, context.params
    about = Aggregates(dataset, params.verify.min_rows)
    taken = _look_through(context, about)
    gone = {part for line in context.read_list().lines for part in line.split(".")}

    def is_free(number: int) -> bool:
        raw = canary_id(number)
        record = context.tokenizer.token("record", raw)
        person = context.tokenizer.token("subject", raw)
        governing = person if context.has_subjects else record
        held_out = place_of_line(governing, params.sharding).is_holdout
        return number not in taken and not held_out and gone.isdisjoint({record, person})

    numbers = new_numbers(next_number(present), count, is_free)
    header = canary_columns(dataset)
    return [header, *(make_canary(context.key, number, dataset, about) for number in numbers)]


def _look_through(context: Context, about: Any) -> set[int]:
    """Read the dataset once: into the aggregates, and for ids that look like a canary's."""
    # A file of canaries has categories as they are written, as the dataset has.
    dataset = context.params.dataset.in_clear()
    taken: set[int] = set()
    first_row = 1
    with progress("reading rows", None, "rows") as advance:
        path = context.project.root / dataset.path
        pictures = PictureFolder.of_dataset(context.project.root, dataset, dataset.path)
        for batch in read_batches(path, dataset.path, reading=Reading.of(dataset)):
            about.see(feature_columns(batch, dataset, dataset.path, first_row, pictures))
            if dataset.task == "regression":
                about.see_targets(target_column(batch, dataset, dataset.path, first_row))
            if dataset.weight is not None:
                found = weight_column(batch, dataset.weight, dataset, dataset.path, first_row)
                about.see_weights(found)
            for column in {dataset.id, dataset.subject or dataset.id}:
                require_column(batch, column, dataset.path)
                raw_ids = as_text(batch[column], column).to_pylist()
                taken |= {n for raw in raw_ids if (n := canary_number(raw)) is not None}
            first_row += batch.num_rows
            advance(batch.num_rows)
    if first_row == 1:
        raise InputError(f"{dataset.path} has no rows")
    return taken


def _file_with(path: Path, rows: list[list[str]]) -> bytes:
    """Return the file's content with rows at its end; those that it has stay as they are."""
    before = path.read_bytes() if path.exists() else b""
    text = io.StringIO()
    # Every value is quoted, so that any category is read as the same text.
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows(rows[1:] if before else rows)
    gap = b"" if not before or before.endswith(b"\n") else b"\n"
    return before + gap + text.getvalue().encode()


def _summary(context: Context, rows: list[list[str]], name: str, *, total: int) -> CanaryAnswer:
    kind: Kind = "subject" if context.has_subjects else "record"
    ids = [row[0] for row in rows[1:]]
    heads = included(context.key, (context.tokenizer.token("record", raw) for raw in ids))
    places = [
        place_of_line(context.tokenizer.token(kind, raw), context.params.sharding) for raw in ids
    ]
    shards = {place.shard for place, head in zip(places, heads, strict=True) if head}
    return CanaryAnswer(
        planted=len(ids),
        trained_on=int(heads.sum()),
        left_out=len(ids) - int(heads.sum()),
        total=total,
        shards=sorted(shards),
        file=name,
    )


def _describe(answer: CanaryAnswer) -> str:
    planted = plural(answer.planted, "canary", "canaries")
    lines = [
        f"{planted} planted in {answer.file}, {answer.total:,} in total",
        f"{answer.trained_on:,} will be trained on, {answer.left_out:,} left out",
        f"shards to retrain: {names(answer.shards)}",
        "next: unlearn repro",
    ]
    return "\n".join(lines)
