"""What a user asks `unlearn init` for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unlearn.cli.csv_options import DecimalMark, DelimiterName, EncodingName, QuoteName
from unlearn.cli.init.request.choices import (
    CiSystem,
    Example,
    Identity,
    MissingColumns,
    RareCategories,
    Template,
)
from unlearn.cli.init.request.kinds import read_kinds
from unlearn.cli.init.request.text_request import TextOptions
from unlearn.cli.init.scaffold import DEFAULT_HOLDOUT
from unlearn.stages.columns.column_choice import ColumnChoice
from unlearn.stages.config.dataset import DEFAULT_MISSING, TENSOR_KINDS
from unlearn.stages.config.section import Task
from unlearn.stages.config.verify import VerifyParams
from unlearn.stages.errors import InputError


@dataclass(frozen=True)
class InitRequest:
    """All options of `init`; None where the user left the choice to the command.

    `root` is the project's folder, and paths are absolute. With `is_output`, the dataset is an
    output of DVC in the same repository, and stays where it is.
    """

    root: Path
    example: Example | None = None
    template: Template = Template.SISA
    ci: CiSystem | None = None
    dataset: Path | None = None
    is_output: bool = False
    held_out: Path | None = None
    in_folder: bool = False
    id: str | None = None
    target: str | None = None
    weight: str | None = None
    task: Task | None = None
    subject: str | None = None
    identity: Identity | None = None
    multiline: bool | None = None
    delimiter: DelimiterName | None = None
    quote: QuoteName | None = None
    columns: str | None = None
    decimal: DecimalMark | None = None
    encoding: EncodingName | None = None
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    missing_columns: MissingColumns | None = None
    rare_categories: RareCategories | None = None
    category_texts: str | None = None
    drop_unlabelled: bool | None = None
    shards: int | None = None
    slices: int | None = None
    holdout: float | None = None
    model: str | None = None
    raw: bool = False
    trust_type: tuple[str, ...] = ()
    epochs: int | None = None
    size: str | None = None
    layers_by_slice: bool = False
    text: TextOptions = field(default_factory=TextOptions)

    @property
    def is_posthoc(self) -> bool:
        """Whether the pipeline is one of post-hoc methods."""
        return self.template is Template.POSTHOC

    @property
    def is_text(self) -> bool:
        """Whether the dataset is one of text."""
        return self.text != TextOptions()

    @property
    def reads_text(self) -> bool:
        """Whether a language model is trained, on an example or on the user's own text."""
        return self.is_text or self.example is Example.AUTHORS

    @property
    def has_line_ends(self) -> bool:
        """Whether values in quotes may have line ends in CSV files."""
        return self.is_text if self.multiline is None else self.multiline

    @property
    def pinned_missing_columns(self) -> Literal["refuse", "null"] | None:
        """What params.yaml is to say about columns that a file lacks; None for one file."""
        if self.dataset is None or not (self.in_folder or self.dataset.is_dir()):
            return None
        return (self.missing_columns or MissingColumns.REFUSE).value

    @property
    def holdout_share(self) -> float:
        """The share of the dataset that no model is trained on."""
        if self.held_out is not None:
            return 0.0
        return DEFAULT_HOLDOUT if self.holdout is None else self.holdout

    @property
    def array_columns(self) -> frozenset[str]:
        """The columns that the user says are arrays: lists in them stay whole."""
        kinds = read_kinds(self.kind).kinds
        return frozenset(name for name, kind in kinds.items() if kind in TENSOR_KINDS)

    def choice(self) -> ColumnChoice:
        """Return what the user says about columns that are no id, subject or target."""
        if both := sorted(set(self.drop) & set(self.keep)):
            raise InputError(f"column {both[0]!r} cannot be both in --drop and in --keep")
        chosen = read_kinds(self.kind)
        if both := sorted(set(self.drop) & set(chosen.kinds)):
            raise InputError(f"column {both[0]!r} cannot be both in --drop and in --kind")
        return ColumnChoice(
            drop=self.drop,
            keep=self.keep,
            missing=tuple(dict.fromkeys((*DEFAULT_MISSING, *self.missing))),
            min_rows=None if self.keeps_rare else VerifyParams().min_rows,
            drop_unlabelled=bool(self.drop_unlabelled),
            kinds=chosen.kinds,
            orders=chosen.orders,
            hashed_columns=chosen.hashed_columns,
            shapes=chosen.shapes,
            task=self.task,
        )

    @property
    def keeps_rare(self) -> bool:
        """Whether models learn categories that few rows share."""
        return self.rare_categories is RareCategories.KEEP
