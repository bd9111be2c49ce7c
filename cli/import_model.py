"""`unlearn import-model`: a model from elsewhere as the original of a post-hoc pipeline."""

from pathlib import Path
from typing import Annotated

import typer
from unlearn.cli.answers import Answer
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit
from unlearn.cli.plan import rows_of_shards
from unlearn.cli.text_edits import (
    replace_file,
    restored_on_error,
    text_of,
    with_dependency,
    with_setting,
    without_stage,
)
from unlearn.stages.context import PosthocContext, load_params, open_project
from unlearn.stages.dvc.command import run_dvc
from unlearn.stages.dvc.pipeline import read_pipeline
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import write_folder
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import HOLDOUT, Project, find_project
from unlearn.stages.rows.holdout import calibration_half
from unlearn.stages.rows.shard_file import read_shard
from unlearn.stages.training.importing import (
    IMPORT_FILE,
    Imported,
    import_checkpoint,
    import_unlearned,
    import_weights,
)
from unlearn.stages.training.method_record import WHOLE, MethodRows

_ORIGINAL = "models/original"


class ImportAnswer(Answer):
    """The model that was imported.

    Parameters
    ----------
    source
        The name of its file or folder.
    holdout_accuracy, training_accuracy
        On the held-out rows, and on the others; of a language model the share of answer tokens
        that it ranks first.
    majority
        Accuracy of the most frequent class on the held-out rows; of a language model, that of its
        base.
    holdout_rows
        How many rows are held out.
    """

    source: str
    holdout_accuracy: float
    training_accuracy: float
    majority: float
    holdout_rows: int


def import_model(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="A file of weights (.safetensors, a .pt state dict, or .skops), the folder of a "
            "tuned language model, or models/unlearned/METHOD.",
        ),
    ],
    as_json: JsonFlag = False,
) -> None:
    """Use a trained model as the original of a post-hoc pipeline.

    The methods then start from this model, and `unlearn repro` does not train one.
    """
    opened = open_project(find_project())
    if opened.params.kind == "exact":
        raise InputError(
            "this project has shards; a model can only be imported into a post-hoc project",
            "`unlearn init --template posthoc` creates a post-hoc project",
        )
    context = opened.posthoc()
    with exclusive(context.project.lock_file("repro"), "another `unlearn repro`"):
        imported = _check(context, source)
        _put_in_place(context, imported)
    answer = ImportAnswer(
        source=source.name,
        holdout_accuracy=round(imported.holdout_accuracy, 6),
        training_accuracy=round(imported.training_accuracy, 6),
        majority=round(imported.majority, 6),
        holdout_rows=imported.rows,
    )
    is_text = context.params.modality == "text"
    emit(answer, as_json=as_json, text=lambda: _describe(answer, is_text=is_text))


COMMAND = Command(
    import_model,
    example="unlearn import-model trained/model.safetensors",
    answer=ImportAnswer,
)


def _check(context: PosthocContext, source: Path) -> Imported:
    project = context.project
    with rows_of_shards(context, from_dataset=not project.shard_file(WHOLE).is_file()) as rows_of:
        training, holdout = rows_of(WHOLE), rows_of(HOLDOUT)
    if not source.exists():
        raise InputError(f"there is no {source.name}")
    is_text = context.params.modality == "text"
    if not source.is_dir():
        if is_text:
            raise InputError(f"{source.name} is not a folder of a fine-tuned language model")
        return import_weights(context, source, training, holdout)
    folder = source.resolve()
    method = next(
        (
            name
            for name in context.unlearn.compared
            if folder == (project.unlearned / name).resolve()
        ),
        None,
    )
    if method is None and is_text:
        return import_checkpoint(context, folder, training, holdout)
    if method is None:
        raise InputError(f"{source.name} is a folder, but not one of models/unlearned/METHOD")
    forget, kept = project.forget_file(WHOLE), project.retain_file(HOLDOUT)
    rows = MethodRows(
        read_shard(forget, "data/forget_set").rows if forget.is_file() else training.slice(0, 0),
        read_shard(project.retain_file(WHOLE), "data/retain_set").rows,
        calibration_half(read_shard(kept, "data/retain_set").rows),
    )
    return import_unlearned(context, method, rows, training, holdout)


def _put_in_place(context: PosthocContext, imported: Imported) -> None:
    """Write the model, and have DVC track it as a file of its own; no stage makes it any more."""
    project = context.project
    edits = _edits(project, context)
    folder = project.original
    before = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in (folder.rglob("*") if folder.is_dir() else ())
        if path.is_file()
    }
    pointer = folder.with_name(f"{folder.name}.dvc")
    with restored_on_error([pointer, folder.parent / ".gitignore", *edits]):
        try:
            for path, text in edits.items():
                replace_file(path, text.encode())
            load_params(project.params)
            write_folder(folder, imported.files, last=IMPORT_FILE)
            run_dvc(project.root, "add", _ORIGINAL)
        except BaseException:
            write_folder(folder, before, last="lineage.json")
            raise


def _edits(project: Project, context: PosthocContext) -> dict[Path, str]:
    """Return the new text of the files that say where the original comes from."""
    edits: dict[Path, str] = {}
    if context.unlearn.original != "imported":
        params = text_of(project.params)
        edits[project.params] = with_setting(
            params, "unlearn", "original", "imported", after="methods"
        )
    pipeline = without_stage(text_of(project.pipeline), "train")
    if _ORIGINAL not in read_pipeline(project)["forget"].get("deps", []):
        pipeline = with_dependency(pipeline, "forget", _ORIGINAL)
    edits[project.pipeline] = pipeline
    if project.lock.is_file():
        edits[project.lock] = without_stage(text_of(project.lock), "train", "dvc.lock")
    return edits


def _describe(answer: ImportAnswer, *, is_text: bool) -> str:
    measured = "share of correct answer tokens" if is_text else "accuracy"
    compared = "its base on the same rows" if is_text else "the most frequent class"
    lines = [
        f"{answer.source} is now the original",
        (
            f"{measured} {answer.holdout_accuracy:.3f} on {answer.holdout_rows:,} held-out "
            f"rows, {answer.training_accuracy:.3f} on the others; {compared}: "
            f"{answer.majority:.3f}"
        ),
    ]
    if answer.training_accuracy <= answer.holdout_accuracy:
        lines.append(
            "note: it predicts the held-out rows as well as the others; if it was trained on "
            "them, the evidence has no meaning"
        )
    lines.append("next: unlearn repro")
    return "\n".join(lines)
