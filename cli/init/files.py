"""The files that `unlearn init` writes, as bytes."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from unlearn.cli.init.joining import joined_lines
from unlearn.cli.init.request import InitRequest, Template
from unlearn.cli.init.roles import TEXT, Roles
from unlearn.cli.init.scaffold import DEFAULT_BATCH, DEFAULT_HOLDOUT, Plan
from unlearn.cli.text_edits import as_yaml
from unlearn.stages.config.dataset import (
    DEFAULT_MISSING,
    CsvParams,
    MissingColumns,
    TargetScale,
)
from unlearn.stages.config.methods import METHODS, MethodSettings, methods_of
from unlearn.stages.config.params import (
    ALGORITHM,
    NUMBER_RULES,
    AggregationRule,
    parse_yaml,
    shard_names,
)
from unlearn.stages.config.section import Task
from unlearn.stages.config.settings_files import FILES, SCHEMA_FILE, SHARDS_FILE, merged
from unlearn.stages.config.text import AdapterOptions, LanguageMethodSettings
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.spec import RowSetTraining
from unlearn.stages.reading.dataset_files import ending

#: Rates for models of a billion parameters and more: of an adapter, and of all weights.
_RATES: Final = {"lora": 1e-4, "causal_lm": 2e-5}

#: What new projects have instead of a default that older projects keep (docs/methods.md).
_NEW: Final[Mapping[str, Mapping[str, Any]]] = {
    "finetune": {"optimizer": "training"},
    "scrub": {"decay": 0.1},
}


@dataclass(frozen=True)
class TableParams:
    """What params.yaml of a table is to say.

    Attributes
    ----------
    path, held_out
        Where the dataset, and a file of held-out rows, are in the project.
    plan
        Shards, slices and epochs.
    features, classes
        The schema to pin.
    task, target_scale
        What the target is, and the scale of one that is a number.
    weight
        The column of weights of rows, if there is one.
    roles
        How ids are read.
    multiline, csv
        Whether values in quotes may have line ends in CSV files, and how these are written.
    missing_columns
        What happens if a file of a directory lacks a column that others have; None for one file.
    shapes, resized
        The shape of each feature that is an array, and the pictures that are resized to it.
    missing
        Texts that mean a missing value in a feature.
    rare_categories, categories
        What happens to categories that few rows share, and those to pin for it.
    hashed_columns
        How many columns of numbers each hashed text becomes.
    date_formats
        How dates and times are written, by feature, where not as ISO 8601 says.
    category_texts
        `keyed` where models have keyed digests of categories.
    drop_unlabelled
        Whether rows without a class are left out.
    options
        Options of the model that differ from the defaults.
    raw, trusted_types
        Settings of an estimator with scikit-learn's interface.
    rule
        How models answer together; None where the family of the model says it.
    batch, rate, network
        Rows a step, the learning rate, and settings of `train` that only networks have.
    """

    path: str
    id: str
    target: str
    plan: Plan
    features: dict[str, Any]
    classes: list[str]
    task: Task = "classification"
    target_scale: TargetScale | None = None
    weight: str | None = None
    roles: Roles = TEXT
    subject: str | None = None
    holdout: float = DEFAULT_HOLDOUT
    held_out: str | None = None
    multiline: bool = False
    csv: CsvParams | None = None
    missing_columns: MissingColumns | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    resized: tuple[str, ...] = ()
    missing: tuple[str, ...] = DEFAULT_MISSING
    rare_categories: str = "bucket"
    categories: dict[str, list[str]] = field(default_factory=dict)
    hashed_columns: dict[str, int] = field(default_factory=dict)
    date_formats: dict[str, Any] = field(default_factory=dict)
    category_texts: str | None = None
    drop_unlabelled: bool = False
    model: str = "mlp"
    options: dict[str, Any] = field(default_factory=dict)
    raw: bool = False
    trusted_types: tuple[str, ...] = ()
    rule: AggregationRule | None = None
    batch: int = DEFAULT_BATCH
    rate: float = 0.001
    network: Mapping[str, Any] = field(default_factory=dict)
    template: Template = Template.SISA

    @property
    def written_features(self) -> dict[str, Any]:
        """The features as schema.yaml has them: kinds, and arrays with their shape."""
        return {
            name: kind
            if name not in self.shapes
            else {"kind": kind, "shape": list(self.shapes[name])}
            | ({"resize": True} if name in self.resized else {})
            for name, kind in self.features.items()
        }


@dataclass(frozen=True)
class TextParams:
    """What params.yaml of a dataset of text is to say.

    Attributes
    ----------
    path, held_out, generic
        Where the dataset, a file of held-out rows, and a file of text that is about nobody in the
        dataset are in the project.
    plan
        Shards, slices and epochs.
    features
        The role of each column.
    roles
        How ids are read.
    multiline, csv
        Whether values in quotes may have line ends in CSV files, and how these are written.
    missing_columns
        What happens if a file of a directory lacks a column that others have; None for one file.
    base, files, revision
        The base, the digests of its files, and the commit of one from the hub.
    rate, unlearn_rate
        Learning rates; None for those of large models.
    gate
        The extraction strength that the original must have on the forget set.
    settings
        Settings of methods that differ from the defaults.
    rule
        How adapters answer together.
    layers_by_slice
        Whether each slice trains layers of its own.
    """

    path: str
    id: str
    plan: Plan
    features: dict[str, str]
    base: str
    files: dict[str, str]
    roles: Roles = TEXT
    subject: str | None = None
    revision: str | None = None
    template: Template = Template.SISA
    model: str = "lora"
    holdout: float = DEFAULT_HOLDOUT
    held_out: str | None = None
    multiline: bool = True
    csv: CsvParams | None = None
    missing_columns: MissingColumns | None = None
    batch: int = 16
    rate: float | None = None
    context: int = 512
    too_long: str = "refuse"
    rule: str = "mean_log_probability"
    device: str = "auto"
    unlearn_rate: float | None = None
    unlearn_batch: int = 32
    generic: str | None = None
    gate: float | None = None
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    layers_by_slice: bool = False


def render_table_params(key_check: str, params: TableParams) -> dict[str, bytes]:
    """Return the files with the settings of a table, by name.

    Parameters
    ----------
    key_check
        Identifies the project key.
    params
        What they are to say.
    """
    spec = find_spec(params.model)
    defaults = {} if spec.options is None else spec.options().model_dump(mode="json")
    text = _render(
        f"{params.template}/params.yaml.jinja",
        **vars(params)
        | {"missing": list(params.missing), "options": defaults | params.options}
        | {"trusted_types": list(params.trusted_types)}
        | {"rule": params.rule or aggregation_rule(params.model, params.task)},
        has_interface=spec.takes_raw,
        algorithm=ALGORITHM,
        key_check=key_check,
        scale=spec.preprocessing.scale,
        impute=spec.preprocessing.impute,
        rerun=spec.training.reruns if isinstance(spec.training, RowSetTraining) else 1,
        methods=list(methods_of(params.task)),
        settings=_of_new_projects(params.task),
    )
    return {"params.yaml": text} | _render_lists(params)


def _of_new_projects(task: Task) -> dict[str, dict[str, Any]]:
    """Return the settings of methods for tables that apply to a task, as new projects have them."""
    settings = MethodSettings().model_dump(mode="json")
    return {name: settings[name] | _NEW.get(name, {}) for name in methods_of(task)}


def render_text_params(key_check: str, params: TextParams) -> dict[str, bytes]:
    """Return the files with the settings of a dataset of text; see `render_table_params`."""
    adapter = AdapterOptions().model_dump(mode="json")
    defaults = LanguageMethodSettings().model_dump(mode="json")
    values = {
        **vars(params),
        "algorithm": ALGORITHM,
        "key_check": key_check,
        "adapter": adapter if params.model == "lora" else None,
        "rate": params.rate or _RATES[params.model],
        "methods": list(METHODS["text"]),
        # Methods unlearn with an adapter, even where all weights were tuned.
        "unlearn_adapter": adapter,
        "unlearn_rate": params.unlearn_rate or _RATES["lora"],
        "settings": {
            name: defaults[name] | params.settings.get(name, {}) for name in METHODS["text"]
        },
    }
    text = _render(f"{params.template}/text_params.yaml.jinja", **values)
    return {"params.yaml": text} | _render_lists(params)


def _render_lists(params: TableParams | TextParams) -> dict[str, bytes]:
    schema = dict(vars(params))
    if isinstance(params, TableParams):
        schema["features"] = params.written_features
    lists = {SCHEMA_FILE: render_schema(schema)}
    if params.template is Template.SISA:
        lists[SHARDS_FILE] = render_shards(shard_names(params.plan.shards))
    return lists


def render_schema(schema: Mapping[str, Any]) -> bytes:
    """Return schema.yaml.

    Parameters
    ----------
    schema
        The features, and as far as there are any the task, the scale of the target, classes,
        formats of dates, and categories. Classification is not named.
    """
    lists = {name: schema.get(name) for name in FILES[SCHEMA_FILE][1]}
    if isinstance(lists["target_scale"], TargetScale):
        lists["target_scale"] = lists["target_scale"].model_dump(mode="json")
    return _render("schema.yaml.jinja", **lists)


def render_shards(names: list[str]) -> bytes:
    """Return shards.yaml."""
    return _render("shards.yaml.jinja", shards=names)


def render_ledger(branch: str | None) -> bytes:
    """Return the section of params.yaml that names the default branch."""
    return _render("ledger.yaml.jinja", branch=branch)


def aggregation_rule(model: str, task: Task = "classification") -> str:
    """Return the aggregation that a model's answers allow."""
    if task == "regression":
        return NUMBER_RULES[0]
    probable = find_spec(model).has_probabilities(TrainParams(model=model))
    return "mean_probability" if probable else "majority_vote"


def render_pipeline(
    template: Template = Template.SISA,
    *,
    is_text: bool = False,
    made_with: str | None = None,
    held_out: bool = False,
    generic: str | None = None,
    young: bool = True,
    task: Task = "classification",
    layers_by_slice: bool = False,
) -> bytes:
    """Return dvc.yaml.

    Parameters
    ----------
    template
        The pipeline.
    is_text
        Whether the dataset is one of text.
    made_with
        A file or folder of the project that models are made with: the user's own module, or the
        base of a language model. A base elsewhere is checked by the digests of its files when it
        is read.
    held_out
        Whether rows that no model is trained on are in a file of their own.
    generic
        The file of text that is about nobody in the dataset, if there is one.
    young
        Whether a post-hoc pipeline has the stage of this name.
    task
        What the target of a table is.
    layers_by_slice
        Whether each slice trains layers of its own.
    """
    return _render(
        f"{template}/dvc.yaml.jinja",
        is_text=is_text,
        made_with=made_with,
        held_out=held_out,
        generic=generic,
        young=young,
        layers_by_slice=layers_by_slice,
        quality="error" if task == "regression" else "accuracy",
    )


def render_gitignore(before: str, exceptions: list[str]) -> bytes:
    """Return .gitignore with every line that keeps rows, models and the key out of git.

    Parameters
    ----------
    before
        What it holds already.
    exceptions
        More lines, such as exceptions from `/data/?*`.
    """
    return _extended(before, _render("gitignore.jinja", exceptions=exceptions))


def render_shared_gitignore(before: str, exceptions: list[str], wide: list[str]) -> bytes:
    """Return the .gitignore of a folder that has other files, with lines for those of a project.

    Parameters
    ----------
    before, exceptions
        See `render_gitignore`.
    wide
        Which of the folders data, models and reports the lines before ignore as a whole.
    """
    lines = _render("shared_gitignore.jinja", exceptions=exceptions, wide=wide)
    return _as_bytes(joined_lines(before, lines.decode()))


def render_shared_gitattributes(before: str, *, hashed: list[str]) -> bytes:
    """Return the .gitattributes of a folder that has other files; see `render_gitattributes`."""
    patterns = [_attribute_pattern(path) for path in hashed]
    lines = _render("shared_gitattributes.jinja", patterns=patterns)
    return _as_bytes(joined_lines(before, lines.decode()))


def render_shared_dockerignore(before: str) -> bytes:
    """Return the .dockerignore of a folder that has other files; see `render_dockerignore`."""
    return _as_bytes(joined_lines(before, _render("dockerignore.jinja").decode()))


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def render_gitattributes(before: str, *, hashed: list[str]) -> bytes:
    """Return .gitattributes that keeps the line ends of every file that DVC hashes.

    Parameters
    ----------
    before
        What it holds already.
    hashed
        Files of this project that git keeps and DVC hashes, and folders with a slash at the end.
    """
    patterns = [_attribute_pattern(path) for path in hashed]
    return _extended(before, _render("gitattributes.jinja", patterns=patterns))


def render_dockerignore(before: str) -> bytes:
    """Return .dockerignore that keeps the key out of images; `before` is what it holds already."""
    return _extended(before, _render("dockerignore.jinja"))


def _extended(before: str, lines: bytes) -> bytes:
    """Return a file of patterns with the lines that it does not have yet at its end."""
    missing = [line for line in lines.decode().splitlines() if line not in before.splitlines()]
    gap = "" if before == "" or before.endswith("\n") else "\n"
    return (before + gap + "".join(f"{line}\n" for line in missing)).encode(
        "utf-8", "surrogateescape"
    )


def _attribute_pattern(path: str) -> str:
    """Return a path, of a folder with a slash at its end, as a pattern that matches it alone."""
    pattern = "/" + re.sub(r"([\\*?\[\]])", r"\\\1", path) + ("**" if path.endswith("/") else "")
    if re.fullmatch(r"[\w./*-]+", pattern):
        return pattern
    # In quotes, as git reads names with spaces.
    quoted = pattern.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'


def copied_to(name: str, source: Path, *, in_folder: bool = False) -> str:
    """Return where a file or folder of rows is copied to in the project.

    Parameters
    ----------
    name, source
        What it is called there, without its ending, and where it is.
    in_folder
        Whether a file is put into a folder of its own.
    """
    if in_folder or source.is_dir():
        return f"data/{name}"
    return f"data/{name}{ending(source) or source.suffix}"


def copies_of(request: InitRequest) -> dict[str, Path]:
    """Return the files or folders of rows, by where they are in the project, or are copied to."""
    sources = {"dataset": request.dataset, "held_out": request.held_out}
    kept: dict[str, Path] = {}
    if request.is_output and request.dataset is not None:
        del sources["dataset"]
        kept = {Path(os.path.relpath(request.dataset, request.root)).as_posix(): request.dataset}
    return kept | {
        copied_to(name, source, in_folder=request.in_folder): source
        for name, source in sources.items()
        if source is not None
    }


def outputs_of(request: InitRequest) -> list[str]:
    """Return what of `copies_of` is an output of DVC, and stays where it is."""
    return list(copies_of(request))[:1] if request.is_output else []


def parse(settings: dict[str, bytes]) -> dict[str, Any]:
    """Return what the files of settings say together."""
    found = {name: parse_yaml(content) for name, content in settings.items()}
    return merged(found.pop("params.yaml"), found)


def read_template(name: str) -> str:
    """Return the text of a file that comes with the command."""
    return (files("unlearn.cli") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(  # noqa: S701 - YAML, which `as_yaml` quotes; nothing is HTML
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["yaml"] = as_yaml
    return environment


def _render(name: str, **values: Any) -> bytes:
    return _environment().from_string(read_template(name)).render(values).encode()
