"""What params.yaml, schema.yaml and shards.yaml of a new project are to say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from unlearn.cli.init.dataset.roles import TEXT, Roles
from unlearn.cli.init.request.choices import Template
from unlearn.cli.init.scaffold import DEFAULT_BATCH, DEFAULT_HOLDOUT, Plan
from unlearn.stages.config.dataset import DEFAULT_MISSING, CsvParams, MissingColumns, TargetScale
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.config.section import Task


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
