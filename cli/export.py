"""`unlearn export`: the models as other tools load them."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from unlearn.cli.answers import Answer
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, plural, say
from unlearn.stages.context import open_project
from unlearn.stages.errors import InputError
from unlearn.stages.export.record import ExportRecord
from unlearn.stages.project.paths import find_project


class KindName(Enum):
    """What can be exported."""

    SHARDS = "shards"
    ADAPTER = "adapter"
    MERGED = "merged"


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
        The folder.
    export
        The content of export.json.
    """

    name: str
    output: str
    export: ExportRecord


def export(
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="The folder to make, outside the project's.")
    ],
    kind: Annotated[
        KindName,
        typer.Option(
            "--as",
            help="What to write. shards: a folder for each shard. adapter: one adapter. "
            "merged: a whole model.",
        ),
    ],
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
    """Write a language model as PEFT and transformers load it, with a model card.

    One adapter has the mean of the shards' weight updates. It is another model than the ensemble,
    so its quality and a membership attack are measured first. Exports are noted: `unlearn doctor`
    and `unlearn erase` name those that are older than the last request.
    """
    context = open_project(find_project())
    if context.params.modality != "text":
        raise InputError("this project reads tables: `unlearn export` is for language models")
    # Torch and transformers, for language models alone: seconds.
    from unlearn.stages.export.export import Wanted  # noqa: PLC0415
    from unlearn.stages.export.export import export as write_export  # noqa: PLC0415

    wanted = Wanted(
        kind=kind.value,
        rank=rank,
        precision=None if dtype is None else dtype.value,
        public=public,
        allow_pending=allow_pending,
        allow_fail=allow_fail,
    )
    record, note = write_export(context, output, wanted, say)
    answer = ExportAnswer(name=note.name, output=str(output), export=record)
    emit(answer, as_json=as_json, text=lambda: _describe(answer))


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
