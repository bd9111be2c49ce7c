"""An export: a copy of the models that other tools load, with a card that says what it is."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from unlearn.stages.audit.exports import ExportNote
from unlearn.stages.audit.reports import read_found
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.export.card import model_card
from unlearn.stages.export.hub_card import text_card
from unlearn.stages.export.measurement import measure_adapter, measure_deployed
from unlearn.stages.export.noted import write_noted, write_record
from unlearn.stages.export.readiness import Ready, check_output, check_ready
from unlearn.stages.export.record import (
    BaseFacts,
    Compression,
    ExportRecord,
    Kind,
    Measurement,
)
from unlearn.stages.export.whole_model import (
    Precision,
    WholeModel,
    merge_into_base,
    write_whole_model,
)
from unlearn.stages.final_model.files import read_final_model
from unlearn.stages.final_model.one_adapter import (
    PEFT_CONFIG,
    config_for_peft,
    merge_members,
    public_name,
)
from unlearn.stages.final_model.published import published_digest
from unlearn.stages.project.files import digest_json, json_bytes
from unlearn.stages.text.adapters import Shape
from unlearn.stages.text.base import require_libraries
from unlearn.stages.text.compression import compress
from unlearn.stages.training.shard_model import ShardModel, read_shard_model

Members = list[tuple[str, ShardModel]]


@dataclass(frozen=True)
class Wanted:
    """What to export.

    Parameters
    ----------
    kind
        `shards`, `adapter` or `merged`.
    rank
        A lower rank of the one adapter; None to keep it whole.
    precision
        Of merged weights; None for that of the base.
    public
        Whether no figure is measured and written.
    hub
        Whether the model card is one for the Hugging Face hub.
    allow_pending, allow_fail
        Whether requests may be pending, and a verdict may be `fail`.
    """

    kind: Kind
    rank: int | None = None
    precision: Precision | None = None
    public: bool = False
    hub: bool = False
    allow_pending: bool = False
    allow_fail: bool = False


@dataclass(frozen=True)
class MadeModel:
    """The model that is exported.

    Parameters
    ----------
    members
        Shard and model of each adapter; one model in a post-hoc project.
    one
        The one adapter, or the tuned model; None for `shards`.
    compression
        What a lower rank left out.
    whole
        The whole model, if that is exported.
    """

    members: Members
    one: ShardModel | None = None
    compression: Compression | None = None
    whole: WholeModel | None = None


def export(
    context: Context, output: Path, wanted: Wanted, say: Callable[[str], None]
) -> tuple[ExportRecord, ExportNote]:
    """Write an export, whole or not at all, and note it in .unlearn/copies.jsonl.

    Parameters
    ----------
    context
        The project.
    output
        The folder to make.
    wanted
        What to export.
    say
        Told what is being done.

    Returns
    -------
    tuple
        What the export says of itself, and the note.

    Raises
    ------
    InputError
        If the state may not be exported, or the options do not go together. Nothing was written.
    """
    project = context.project
    _check_options(wanted)
    whole = check_output(project, output)
    require_libraries()
    ready = check_ready(context, allow_pending=wanted.allow_pending, allow_fail=wanted.allow_fail)
    made = make_model(context, wanted)
    say("measuring the exported model" if _is_measured(wanted) else "writing the export")
    measured = _measure(context, wanted, made, ready)
    _check_membership(measured, wanted)
    record = _record(context, wanted, made, ready, measured)
    final, of_one = record, len(made.members) == 1

    def write(half: Path) -> None:
        nonlocal final
        half.mkdir()
        _write(half, made)
        card = partial(model_card, one_model=of_one)
        if wanted.hub:
            card = partial(text_card, public=read_found(project).public, one_model=of_one)
        final = write_record(half, record, card)

    kind = "hub" if wanted.hub else wanted.kind
    note = write_noted(project, whole, kind, ready.generation, write)
    return final, note


def is_whole(context: Context) -> bool:
    """Return whether the final model has no adapters: all weights were tuned."""
    return "adapter" not in read_members(context)[0][1].description


def _check_options(wanted: Wanted) -> None:
    if wanted.rank is not None and wanted.kind == "shards":
        raise InputError("--rank is for the one adapter that is made of the shards' adapters")
    if wanted.precision is not None and wanted.kind != "merged":
        raise InputError("--dtype is for --as merged: adapters stay as they were trained")


def _is_measured(wanted: Wanted) -> bool:
    return wanted.kind != "shards" and not wanted.public


def make_model(context: Context, wanted: Wanted) -> MadeModel:
    """Return what is to be written, from the final model as it stands.

    Raises
    ------
    InputError
        If the options do not go together with the models.
    """
    project, params = context.project, context.params
    members = read_members(context)
    is_one = params.kind == "posthoc" or params.train.model != "lora"
    if wanted.kind == "shards":
        if is_one:
            why = "this project has one model, and no adapters of shards"
            raise InputError(why, "use --as adapter or merged")
        return MadeModel(members)
    if wanted.rank is not None and is_one:
        raise InputError("--rank is for the one adapter that is made of the shards' adapters")
    one = members[0][1] if is_one else merge_members(members)
    if wanted.kind == "adapter" and "adapter" not in one.description:
        raise InputError("all weights were tuned: there is no adapter", "use --as merged")
    compression = None
    if wanted.rank is not None:
        one, compression = compressed(one, wanted.rank)
    whole = None
    if wanted.kind == "merged":
        options = text_options(params.train)
        whole = merge_into_base(one, options, project.root, wanted.precision)
    return MadeModel(members, one, compression, whole)


def read_members(context: Context) -> Members:
    """Return shard and model of each adapter of the final model, or the one model of it.

    Raises
    ------
    InputError
        If there is none, or one is not what the final model was made of.
    """
    description, models = read_final_model(context.project.final_model)
    if not models:
        raise InputError("the final model has no members: every shard lost all its rows")
    if description.rule != "merged":
        return models
    found = []
    for entry in description.members:
        name = f"models/shard_models/{entry.shard}"
        model = read_shard_model(context.project.shard_models / entry.shard, name)
        if model.digest != entry.digest:
            raise InputError(f"the final model was not made of {name} as it stands")
        found.append((entry.shard, model))
    return found


def compressed(one: ShardModel, rank: int) -> tuple[ShardModel, Compression]:
    """Return an adapter of a lower rank, and what that left out; see `compress` for errors."""
    shape = Shape.from_json(one.description["adapter"])
    found = compress(shape, load_tensors(one.weights or b""), rank)
    description = one.description | {"adapter": found.shape.as_json()}
    left_out = Compression(rank=rank, before=shape.rank, error=found.error, layers=found.errors)
    return ShardModel(description, save_tensors(found.tensors)), left_out


def _measure(context: Context, wanted: Wanted, made: MadeModel, ready: Ready) -> Measurement | None:
    if not _is_measured(wanted) or made.one is None:
        return None
    module = None if made.whole is None else made.whole.module
    if context.params.kind == "posthoc" or context.params.train.model != "lora":
        return measure_deployed(context, module)
    pending = bool(ready.generation.pending)
    return measure_adapter(context, made.members, made.one, module, pending=pending)


def _check_membership(measured: Measurement | None, wanted: Wanted) -> None:
    found = None if measured is None else measured.membership
    if found is not None and found.verdict == "fail" and not wanted.allow_fail:
        raise InputError(
            f"a membership attack on the exported model fails it: {'; '.join(found.reasons)}",
            "--allow-fail exports it all the same",
        )


def _record(
    context: Context, wanted: Wanted, made: MadeModel, ready: Ready, measured: Measurement | None
) -> ExportRecord:
    options = text_options(context.params.train)
    described = {} if made.one is None else made.one.description
    rank = described["adapter"]["rank"] if "adapter" in described else None
    generation = ready.generation.model_copy(update={"members": len(made.members)})
    if wanted.public:
        generation = generation.published(published_digest(made.members))
    return ExportRecord(
        kind=wanted.kind,
        label=ready.label,
        verdict=ready.verdict,
        base=BaseFacts(
            name=public_name(options.base),
            revision=options.revision,
            digest=digest_json(options.files),
        ),
        generation=generation,
        precision=None if made.whole is None else _precision(made.whole),
        rank=rank,
        compression=made.compression,
        measurement=measured,
    )


def _precision(whole: WholeModel) -> str:
    return str(next(whole.module.parameters()).dtype).removeprefix("torch.")


def _write(folder: Path, made: MadeModel) -> None:
    if made.whole is not None:
        write_whole_model(made.whole, folder)
    elif made.one is not None:
        _write_adapter(folder, made.one)
    else:
        for shard, model in made.members:
            (folder / shard).mkdir()
            _write_adapter(folder / shard, model)


def _write_adapter(folder: Path, model: ShardModel) -> None:
    (folder / str(model.description["file"])).write_bytes(model.weights or b"")
    config = json_bytes(config_for_peft(model, with_revision=True))
    (folder / PEFT_CONFIG).write_bytes(config)
