"""The files of a final model's folder: what they are made of, and reading them with all checks."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from unlearn.stages.config.dataset import (
    ID_SETTINGS,
    READING_SETTINGS,
    TASK_SETTINGS,
    TRAINING_SETTINGS,
)
from unlearn.stages.config.params import Params
from unlearn.stages.config.section import Modality
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.description import (
    FILE_NAME,
    Description,
    MemberEntry,
    read_description,
)
from unlearn.stages.final_model.one_adapter import (
    NAME,
    PEFT_CONFIG,
    adapter_files,
    config_for_peft,
    merge_members,
)
from unlearn.stages.project.files import json_bytes
from unlearn.stages.rows.keyed_categories import key_check
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.training.shard_model import FILE_NAME as MODEL_FILE
from unlearn.stages.training.shard_model import ShardModel, digest_code, read_shard_model


def check_rule(params: Params, model: ShardModel) -> None:
    """Make sure that the chosen rule can combine a model.

    Raises
    ------
    InputError
        If it needs probabilities and the model gives none.
    """
    if params.aggregate.rule != "majority_vote" and not model.has_probabilities:
        raise InputError(
            f"{params.train.model} gives no probabilities, but aggregate.rule: "
            f"{params.aggregate.rule} needs",
            "set `aggregate.rule: majority_vote`",
        )


def final_model_files(
    params: Params, root: Path, models: Iterable[tuple[str, ShardModel]]
) -> Iterator[tuple[str, bytes]]:
    """Yield relative path and content of each file of a final model's folder.

    ensemble.json is the last one. No more than one of the models is held at a time, but for
    adapters that become one.

    Parameters
    ----------
    params
        The project's settings.
    root
        The project's folder, for the user's own module.
    models
        Name and model of each shard, in the order of shards.yaml; empty ones become no members.

    Raises
    ------
    InputError
        If the chosen rule needs probabilities and a model gives none.
    """
    code = None
    if params.train.code_path is not None:
        path = root / params.train.code_path
        code = {"name": path.name, "sha256": digest_code(path)}
        yield path.name, path.read_bytes()
    members, empty = [], []
    together: list[tuple[str, ShardModel]] = []
    for shard, model in models:
        check_rule(params, model)
        if model.kind == "empty":
            empty.append(shard)
            continue
        members.append({"shard": shard, "rows": model.description["rows"], "digest": model.digest})
        if params.aggregate.rule == "merged":
            together.append((shard, model))
            continue
        yield f"members/{shard}/{MODEL_FILE}", json_bytes(model.description)
        if model.weights is not None:
            yield f"members/{shard}/{model.description['file']}", model.weights
        if "adapter" in model.description:
            # So that the member's folder is one that PEFT loads by itself.
            yield f"members/{shard}/{PEFT_CONFIG}", json_bytes(config_for_peft(model))
    keyed = params.dataset.keys_categories
    own = {"category_check": key_check(params.dataset.category_key)} if keyed else {}
    merged: dict[str, str] = {}
    if together:
        one = merge_members(together)
        merged = {"adapter": one.digest}
        yield from adapter_files(one)
    description = json_bytes(
        {
            "schema_version": 1,
            "rule": params.aggregate.rule,
            # Where the training data is, and how its ids are read, is not needed for prediction.
            # Each member knows its categories.
            "dataset": params.dataset.model_dump(
                mode="json",
                exclude={
                    "canaries",
                    "contact",
                    "held_out",
                    "missing_columns",
                    "weight",
                    *ID_SETTINGS,
                    *READING_SETTINGS,
                    *TASK_SETTINGS,
                    *TRAINING_SETTINGS,
                },
            )
            | params.dataset.own_reading
            | params.dataset.own_task
            | {"path": "the input"},
            "has_probabilities": params.aggregate.rule != "majority_vote",
            "members": members,
            "empty": empty,
            "code": code,
        }
        | merged
        | own
    )
    yield FILE_NAME, description


def modality_of(folder: Path) -> Modality:
    """Return what the final model in a folder reads; see `load_ensemble` for errors."""
    return read_description(folder).dataset.modality


def read_final_model(folder: Path) -> tuple[Description, list[tuple[str, ShardModel]]]:
    """Read a final model's folder, and check every member against what the folder says of it.

    Parameters
    ----------
    folder
        `models/final_model`, or a copy of it.

    Returns
    -------
    tuple
        What ensemble.json says; and shard and model of each member, or by the rule `merged` the
        name and the model of the one adapter.

    Raises
    ------
    InputError
        If the folder is not a whole final model, or was changed after it was made.
    """
    description = read_description(folder)
    if description.rule == "merged":
        return description, _checked_adapter(folder, description)
    members = checked_members(folder, description)
    return description, [(entry.shard, model) for entry, model in members]


def checked_members(
    folder: Path, description: Description
) -> Iterator[tuple[MemberEntry, ShardModel]]:
    """Yield entry and model of each member, one at a time; see `read_final_model` for errors.

    Parameters
    ----------
    folder
        The folder of a final model whose members have files of their own.
    description
        Its ensemble.json.
    """
    layout = Layout.of(description.dataset)
    for entry in description.members:
        name = f"member {entry.shard} of the final model"
        place = folder / "members" / entry.shard
        model = read_shard_model(place, name, public=description.is_public)
        try:
            # In a copy for publication neither has rows, unless answers are weighted by them.
            same_rows = model.description.get("rows") == entry.rows
            unchanged = model.digest == entry.digest and same_rows
        except InputError as error:
            raise InputError(f"{name}: {error.message}") from None
        if not unchanged or not _same_answers(model.layout, layout):
            raise InputError(f"{name} was changed after it was made")
        yield entry, model


def _checked_adapter(folder: Path, description: Description) -> list[tuple[str, ShardModel]]:
    """Return name and model of the one adapter, if there is one; see `read_final_model`."""
    if not description.members:
        return []
    name = "the adapter of the final model"
    model = read_shard_model(folder, name)
    rows = sum(entry.rows or 0 for entry in description.members)
    if model.digest != description.adapter or model.description["rows"] != rows:
        raise InputError(f"{name} was changed after it was made")
    if not _same_answers(model.layout, Layout.of(description.dataset)):
        raise InputError(f"{name} was changed after it was made")
    return [(NAME, model)]


def _same_answers(one: Layout, other: Layout) -> bool:
    """Return whether two layouts name the same features, and the same target in the same way."""
    return (one.features, one.classes, one.outputs) == (
        other.features,
        other.classes,
        other.outputs,
    )
