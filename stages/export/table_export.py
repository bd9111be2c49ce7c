"""The final model of a table for other tools: an ONNX file, a folder of MLflow, one for the hub."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from unlearn.stages.audit.estimator_types import stored_rows
from unlearn.stages.audit.exports import ExportNote
from unlearn.stages.audit.reports import read_found
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.export.hub_card import MODEL_FOLDER, ONNX_NAME, table_card
from unlearn.stages.export.noted import (
    digests,
    write_noted,
    write_published,
    write_record,
    write_synced,
)
from unlearn.stages.export.readiness import Ready, check_output, check_ready
from unlearn.stages.export.record import ExportRecord, Generation
from unlearn.stages.final_model.ensemble import load_ensemble
from unlearn.stages.final_model.files import read_final_model
from unlearn.stages.final_model.published import published_digest

TableKind = Literal["onnx", "mlflow", "hub"]

_WEIGHTS = (
    "the copy has the number of rows of each shard, which answers are weighted by: those of two "
    "generations can be subtracted, so keep no older copy public"
)


@dataclass(frozen=True)
class WantedTable:
    """What to export of a table.

    Parameters
    ----------
    kind
        `onnx`, `mlflow` or `hub`.
    allow_pending, allow_fail
        Whether requests may be pending, and a verdict may be `fail`.
    """

    kind: TableKind
    allow_pending: bool = False
    allow_fail: bool = False


def export_table(
    context: Context, output: Path, wanted: WantedTable, say: Callable[[str], None]
) -> tuple[ExportRecord, ExportNote]:
    """Write an export of a table's final model, whole or not at all; see `export`.

    Parameters
    ----------
    context
        The project.
    output
        The file or the folder to make.
    wanted
        What to export.
    say
        Told what is being done.

    Raises
    ------
    InputError
        If the state may not be exported, a library is missing, or ONNX has no operations for the
        model. Nothing was written.
    """
    project = context.project
    if wanted.kind == "onnx" and output.suffix.lower() != ".onnx":
        raise InputError(f"{output.name} does not end in .onnx")
    whole = check_output(project, output)
    if wanted.kind == "mlflow":
        from unlearn.stages.export.mlflow_model import require_mlflow

        require_mlflow()
    elif wanted.kind == "onnx":
        from unlearn.stages.export.onnx_model import require_onnx

        require_onnx()
    ready = check_ready(context, allow_pending=wanted.allow_pending, allow_fail=wanted.allow_fail)
    description, members = read_final_model(project.final_model)
    weighs_rows = description.rule == "size_weighted"
    digest = published_digest(members, weighs_rows=weighs_rows)
    # A shard that lost all its rows has no member, and is not counted.
    generation = ready.generation.model_copy(update={"members": len(members)}).published(digest)
    facts = _facts(ready, generation)
    record = ExportRecord(
        kind=wanted.kind,
        label=ready.label,
        verdict=ready.verdict,
        base=None,
        generation=generation,
        precision=None,
        rank=None,
        compression=None,
        measurement=None,
    )
    content = None
    if wanted.kind != "mlflow":
        content = _onnx(context, facts, say, is_needed=wanted.kind == "onnx")
    else:
        from unlearn.stages.export.mlflow_model import check_mlflow

        check_mlflow(description, members)
    stored = list(stored_rows(project, context.params))
    for note_on_rows in (*([_WEIGHTS] if weighs_rows else []), *stored):
        say(f"note: {note_on_rows}")

    def write(half: Path) -> None:
        nonlocal record
        if wanted.kind == "onnx":
            write_synced(half, content or b"")
        elif wanted.kind == "mlflow":
            from unlearn.stages.export.mlflow_model import write_mlflow

            write_mlflow(project.final_model, half, facts)
        else:
            _write_hub(context, half, content)
        if wanted.kind == "hub":
            card = partial(
                table_card,
                public=read_found(project).public,
                dataset=context.params.dataset,
                weighs_rows=weighs_rows,
                stored=stored,
            )
            record = write_record(half, record, card)
        else:
            record = record.model_copy(update={"files": digests(half)})

    note = write_noted(project, whole, wanted.kind, ready.generation, write)
    return record, note


def _facts(ready: Ready, state: Generation) -> dict[str, str]:
    """Return what a copy says of its state, by name, as texts."""
    return {
        "unlearn.version": version("dvc-unlearn"),
        "unlearn.verdict": ready.verdict,
        "unlearn.label": ready.label,
        "unlearn.commit": state.commit or "not committed",
        "unlearn.lock": state.lock,
        "unlearn.models": state.models,
        "unlearn.honours_all": "yes" if state.honours_all else "no",
    }


def _onnx(
    context: Context, facts: Mapping[str, str], say: Callable[[str], None], *, is_needed: bool
) -> bytes | None:
    """Return the ONNX file; None where it cannot be made, if it need not be."""
    from unlearn.stages.export.onnx_model import onnx_file, require_onnx

    project, train = context.project, context.params.train
    try:
        require_onnx()
        say("writing the model as ONNX, and comparing it on made-up rows")
        ensemble = load_ensemble(
            project.final_model,
            own_code=None if train.code_path is None else project.root / train.code_path,
            own_types=train.trusted_types,
            root=project.root,
        )
        return onnx_file(ensemble, train.model, facts)
    except InputError as error:
        if is_needed:
            raise
        say(f"note: without an ONNX file: {error.message}")
        return None


def _write_hub(context: Context, half: Path, content: bytes | None) -> None:
    half.mkdir()
    write_published(context.project.final_model, half / MODEL_FOLDER)
    if content is not None:
        write_synced(half / ONNX_NAME, content)
