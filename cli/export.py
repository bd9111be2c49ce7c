"""`unlearn export`: the models as other tools load them."""

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from unlearn.cli.answers import Answer
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, plural, say
from unlearn.stages.audit.exports import ExportNote
from unlearn.stages.context import Context, open_project
from unlearn.stages.errors import InputError
from unlearn.stages.export.record import ExportRecord
from unlearn.stages.project.paths import find_project


class KindName(Enum):
    """What can be exported."""

    SHARDS = "shards"
    ADAPTER = "adapter"
    MERGED = "merged"


class TableKindName(Enum):
    """What can be exported of a table, and `hub` of a language model."""

    ONNX = "onnx"
    MLFLOW = "mlflow"
    HUB = "hub"


class PrecisionName(Enum):
    """Precisions of merged weights."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class ExportAnswer(Answer):
    """What was exported.

    Parameters
    ----------
    name
        What other commands call the export.
    output
        The file or folder.
    export
        What it says of itself: the content of export.json, where there is one.
    """

    name: str
    output: str
    export: ExportRecord


def export(
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT", help="The file or folder to make, outside those of the project."
        ),
    ],
    kind: Annotated[
        KindName | None,
        typer.Option(
            "--as",
            help="What to write of a language model. shards: a folder for each shard. adapter: one "
            "adapter. merged: a whole model.",
        ),
    ] = None,
    onnx: Annotated[
        bool,
        typer.Option(
            "--onnx", help="Write the final model of a table, with its preprocessing, as ONNX."
        ),
    ] = False,
    mlflow: Annotated[
        bool,
        typer.Option("--mlflow", help="Write the final model of a table as a model of MLflow."),
    ] = False,
    hub: Annotated[
        bool,
        typer.Option(
            "--hub",
            help="Write a repository folder for the Hugging Face hub, with a model card and "
            "without figures. Nothing is uploaded.",
        ),
    ] = False,
    rank: Annotated[
        int | None,
        typer.Option(
            metavar="R", min=1, help="Compress the one adapter to this rank. The default keeps it."
        ),
    ] = None,
    dtype: Annotated[
        PrecisionName | None,
        typer.Option(help="The precision of merged weights. The default is that of the base."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Measure nothing, and write no figures.")
    ] = False,
    allow_pending: Annotated[
        bool,
        typer.Option("--allow-pending", help="Export although requests are pending."),
    ] = False,
    allow_fail: Annotated[
        bool, typer.Option("--allow-fail", help="Export although a verdict is fail.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the models as other tools load them.

    A table's final model becomes an ONNX file, a model of MLflow, or a folder for the Hugging Face
    hub. A language model becomes what PEFT and transformers load, with a model card.

    One adapter has the mean of the shards' weight updates. It is another model than the ensemble,
    so its quality and a membership attack are measured first. Exports are noted: `unlearn doctor`
    and `unlearn erase` name those that are older than the last request.
    """
    flags = {"onnx": onnx, "mlflow": mlflow, "hub": hub}
    asked = [name for name, is_on in flags.items() if is_on]
    if len(asked) > 1:
        raise InputError(f"give either --{asked[0]} or --{asked[1]}")
    chosen = TableKindName(asked[0]) if asked else None
    context = open_project(find_project())
    if context.params.modality != "text":
        if kind is not None or rank is not None or dtype is not None:
            raise InputError(
                "this project reads tables: --as, --rank and --dtype are for language models",
                "use --onnx, --mlflow or --hub",
            )
        if chosen is None:
            raise InputError("say what to write: --onnx, --mlflow or --hub")
        allowed = {"allow_pending": allow_pending, "allow_fail": allow_fail}
        record, note = _export_table(context, output, chosen, allowed)
    else:
        if chosen in (TableKindName.ONNX, TableKindName.MLFLOW):
            raise InputError(
                f"--{chosen.value} is for tables, and this project reads text",
                "use --as shards, adapter or merged, or --hub",
            )
        if kind is None and chosen is None:
            raise InputError("say what to write: --as shards, adapter or merged, or --hub")
        # Torch and transformers, for language models alone: seconds.
        from unlearn.stages.export.export import Wanted, is_whole  # noqa: PLC0415
        from unlearn.stages.export.export import export as write_export  # noqa: PLC0415

        kind = kind or (KindName.MERGED if is_whole(context) else KindName.ADAPTER)
        wanted = Wanted(
            kind=kind.value,
            rank=rank,
            precision=None if dtype is None else dtype.value,
            public=public or chosen is TableKindName.HUB,
            hub=chosen is TableKindName.HUB,
            allow_pending=allow_pending,
            allow_fail=allow_fail,
        )
        record, note = write_export(context, output, wanted, say)
    answer = ExportAnswer(name=note.name, output=str(output), export=record)
    emit(answer, as_json=as_json, text=lambda: _describe(answer))


def _export_table(
    context: Context, output: Path, kind: TableKindName, allowed: Mapping[str, bool]
) -> tuple[ExportRecord, ExportNote]:
    # Torch, onnx and MLflow, for exports alone: seconds.
    from unlearn.stages.export.table_export import WantedTable, export_table  # noqa: PLC0415

    return export_table(context, output, WantedTable(kind.value, **allowed), say)


COMMAND = Command(export, example="unlearn export ../for_vllm --as merged", answer=ExportAnswer)


def _describe(answer: ExportAnswer) -> str:
    record = answer.export
    lines = [f"export {answer.name}: {plural(len(record.files), 'file')} in {answer.output}"]
    lines.append(f"label: {record.label}; verdict on the project: {record.verdict}")
    if record.rank is not None:
        lines.append(f"rank of the adapter: {record.rank}")
    if record.compression is not None:
        lines.append(f"relative error of the lower rank: {record.compression.error:.3g}")
    found = record.measurement
    if found is not None:
        for name, of in (("this model", found.exported), ("the final model", found.deployed)):
            if of is not None:
                values: dict[str, Any] = of.model_dump()
                told = ", ".join(
                    f"{key.replace('_', ' ')} {value:.3g}"
                    for key, value in values.items()
                    if value is not None
                )
                lines.append(f"{name}: {told or 'too few rows to measure'}")
        if found.membership is not None:
            of_it = found.membership
            auc = "" if of_it.auc is None else f" AUC {of_it.auc:.3g},"
            lines.append(f"membership of this model: {of_it.attack}:{auc} {of_it.verdict}")
        lines += [f"note: {why}" for why in found.missing]
    lines.append("note: a later request does not reach this copy; `unlearn doctor` names old ones")
    return "\n".join(lines)
