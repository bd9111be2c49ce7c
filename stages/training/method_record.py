"""A model that a post-hoc method made, in its folder, and the record of how.

    model.json            as a shard model's; absent where the method did not apply
    model.safetensors     weights (torch), or model.skops (scikit-learn)
    lineage.json          of a model that was retrained
    record.json           the method, its label, what it read, and a keyed seal over all of it

The record is a function of what the method read, so that folders can be compared byte for byte.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from unlearn.stages.config.methods import YOUNG, method_names, own_code
from unlearn.stages.config.params import ALGORITHM
from unlearn.stages.context import Context, PosthocContext
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import canonical_json, digest_file, digest_json, remove_unplanned
from unlearn.stages.rows.shard_file import digest_rows
from unlearn.stages.rows.tokens import Key
from unlearn.stages.training.environment import environment
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import ShardModel, digest_code, read_shard_model
from unlearn.stages.training.young import young_recipe

FILE_NAME = "record.json"

#: The one shard of a project whose model was trained without shards.
WHOLE = "s000"

RETRAIN = "retrain"
#: How often and where guards look. A method ends elsewhere when this changes, so it runs again.
GUARD_LOOKS = 2


@dataclass(frozen=True)
class Record:
    """How a model came about.

    Parameters
    ----------
    method
        The method's name.
    label
        `exact`, `certified(epsilon=..., delta=...)` or `approximate`.
    inputs
        Keyed digest of all that the method read: settings, rows, models, code, environment.
    why_not
        Why the method does not apply; None where it does.
    stopped_by
        What ended an iterative method; see `unlearn.base.guard`. `nothing_to_forget` where no
        row of the model was on the list, and `trained` if it was retrained.
    rolled_back
        Whether the guard went back to an earlier state.
    passes
        How often the method read each forget row, and each retain row, on average.
    facts
        What else a method has to say, as JSON values.
    environment
        The facts of the machine that decide bytes.
    files
        SHA-256 of every other file in the folder, by name.
    seal
        Keyed digest of all the rest.
    """

    method: str
    label: str
    inputs: str
    why_not: str | None = None
    stopped_by: str | None = None
    rolled_back: bool = False
    passes: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    seal: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return {"schema_version": 1, **asdict(self)}


def seal(key: Key, record: Record) -> str:
    """Return the seal of a record, in hex."""
    content = {name: value for name, value in record.as_json().items() if name != "seal"}
    return key.digest("record", canonical_json(content)).hex()


def sealed(key: Key, record: Record, files: Mapping[str, bytes]) -> Record:
    """Return the record with the digests of the files in its folder, and its seal."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    whole = replace(record, files=digests, seal="")
    return replace(whole, seal=seal(key, whole))


def read_record(folder: Path, name: str) -> Record:
    """Read the record in a folder.

    Raises
    ------
    InputError
        If there is none, or it is not one of this tool.
    """
    try:
        content = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        if content.pop("schema_version") != 1:
            raise ValueError
        return Record(**content)
    except FileNotFoundError:
        raise InputError(f"{name} is missing or incomplete", "`unlearn repro` makes it") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{name}: {FILE_NAME} is not readable") from None


def is_genuine(key: Key, folder: Path, record: Record) -> bool:
    """Return whether a record was sealed with the key and the folder holds what it names."""
    present = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    } - {FILE_NAME, ".gitignore"}
    return (
        record.seal == seal(key, record)
        and present == record.files.keys()
        and all(digest_file(folder / name) == value for name, value in record.files.items())
    )


@dataclass(frozen=True)
class MethodRows:
    """The rows that a method is given.

    Parameters
    ----------
    forget, retain
        Rows of the model, in the order of their files.
    calibration
        The holdout's half that guards may look at, without its forgotten rows.
    """

    forget: pa.Table
    retain: pa.Table
    calibration: pa.Table


def settings_of(context: PosthocContext, method: str) -> Any:
    """Return a method's settings: its section, or for a user's method a plain dict."""
    unlearn = context.unlearn
    if own_code(method) is not None:
        return dict(unlearn.own.get(method, {}))
    sections = {"tabular": unlearn.settings, "text": unlearn.for_language}
    return getattr(sections[context.params.modality], method)


def _shared_settings(context: PosthocContext) -> list[Any]:
    """Return the settings that all methods for language models share."""
    if context.params.modality != "text":
        return []
    shared = context.unlearn.for_language.model_dump(mode="json", exclude=set(method_names("text")))
    name = shared.pop("generic")
    # What is in the file, wherever it is.
    return [shared, None if name is None else _digest_of(context.project.root / name, name)]


def _digest_of(path: Path, name: str) -> str:
    if not path.is_file():
        raise InputError(f"{name} does not exist", "unlearn.language.generic names it")
    return digest_file(path)


def inputs_digest(context: PosthocContext, method: str, original: str, rows: MethodRows) -> str:
    """Return the keyed digest of all that a method reads, in hex.

    `retrain` and `young` read neither the original nor the forget rows, and their digests do not
    depend on them: they are those of a clean room. The others read the model of `young` where it
    gives the guard its target.

    Parameters
    ----------
    context
        The project.
    method
        One of `unlearn.methods`.
    original
        Digest of the original model.
    rows
        What the method is given.
    """
    recipe = Recipe.of_project(context)
    if method == YOUNG:
        recipe = young_recipe(recipe)
    key = context.key
    facts: list[Any] = [
        ALGORITHM,
        method,
        recipe.digest(WHOLE),
        environment(context.params.train),
        digest_rows(key, rows.retain, "retain"),
    ]
    if method not in (RETRAIN, YOUNG):
        settings = settings_of(context, method)
        code = own_code(method)
        facts += [
            settings.digested() if code is None else settings,
            # Records from before there was a choice stay valid: theirs was the class.
            context.unlearn.guard.model_dump(mode="json", exclude={"target"}),
            None
            if code is None
            else digest_code(context.project.root / code[0], "unlearn.methods"),
            original,
            digest_rows(key, rows.forget, "forget"),
            digest_rows(key, rows.calibration, "calibration"),
            *_shared_settings(context),
        ]
        if context.unlearn.guard.active:
            facts.append({"looks": GUARD_LOOKS})
        if context.unlearn.target == "young":
            young = read_young(context)
            facts.append({"young": None if young is None else young.digest})
    return digest_json(facts)


def read_young(context: Context) -> ShardModel | None:
    """Return the model of the stage `young`; None where this kind of model has none.

    Raises
    ------
    InputError
        If the stage has not run, or its folder does not hold what it wrote.
    """
    folder, name = context.project.unlearned / YOUNG, f"models/unlearned/{YOUNG}"
    record = read_record(folder, name)
    if not is_genuine(context.key, folder, record):
        raise InputError(f"{name} is not what its record says", "`unlearn repro` makes it again")
    return None if record.why_not is not None else read_shard_model(folder, name)


def other_models(context: Context) -> list[str]:
    """Return the files below models/unlearned that belong to no method of params.yaml.

    A method that was taken out leaves its model behind, which later requests would not reach.
    """
    folder = context.project.unlearned
    named = [folder / name for name in context.params.methods]
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and path.name != ".gitignore"
        and not any(path.is_relative_to(own) for own in named)
    )


def remove_other_models(context: Context) -> None:
    """Delete what `other_models` finds."""
    folder = context.project.unlearned
    if others := set(other_models(context)):
        files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        remove_unplanned(folder, files - others)
