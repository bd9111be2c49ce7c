"""What a user asks `unlearn init` for, and whether it can be done."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Literal

from unlearn.cli.csv_options import DecimalMark, DelimiterName, EncodingName, QuoteName
from unlearn.cli.examples.authors import AUTHORS_PATH, BASE_PATH, GENERIC_PATH
from unlearn.cli.examples.digits import DIGITS_PATH
from unlearn.cli.examples.shapes import SHAPES_PATH
from unlearn.cli.examples.visits import VISITS_PATH
from unlearn.cli.init.dataset_out import outputs_around
from unlearn.cli.init.joining import INTO, joins, taken_names
from unlearn.cli.init.kinds import read_kinds
from unlearn.cli.init.scaffold import DEFAULT_HOLDOUT
from unlearn.stages.columns.column_choice import ColumnChoice
from unlearn.stages.config.dataset import DEFAULT_MISSING, TENSOR_KINDS
from unlearn.stages.config.section import Task
from unlearn.stages.config.verify import VerifyParams
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.suppressed import SUPPRESSED
from unlearn.stages.project.containment import check_contained
from unlearn.stages.project.shared import PRIVATE
from unlearn.stages.rows.canaries import CANARIES_PATH


class Example(StrEnum):
    """Datasets that come with a library, or are made up."""

    DIGITS = "digits"
    VISITS = "visits"
    SHAPES = "shapes"
    AUTHORS = "authors"


class Template(StrEnum):
    """Pipelines that can be set up."""

    SISA = "sisa"
    POSTHOC = "posthoc"


class TooLong(StrEnum):
    """What happens to rows that are longer than the context."""

    REFUSE = "refuse"
    TRUNCATE = "truncate"


class AdapterRule(StrEnum):
    """How the adapters of shards answer together."""

    MEAN = "mean_log_probability"
    ROUTE = "route"
    MERGED = "merged"


class MissingColumns(StrEnum):
    """What happens if a file of a directory lacks a column that others have."""

    REFUSE = "refuse"
    NULL = "null"


class Identity(StrEnum):
    """Which ids are one: those written the same, or those that are the same once folded."""

    EXACT = "exact"
    FOLDED = "folded"


class CategoryTexts(StrEnum):
    """How shard files and models have categories."""

    CLEAR = "clear"
    KEYED = "keyed"


class RareCategories(StrEnum):
    """What happens to categories that few rows share."""

    BUCKET = "bucket"
    KEEP = "keep"


#: What a CI job installs, in a project.
REQUIREMENTS = "requirements-unlearn.txt"


class CiSystem(StrEnum):
    """Systems that a workflow can be written for."""

    GITHUB = "github"
    GITLAB = "gitlab"


@dataclass(frozen=True)
class TextOptions:
    """Options that only a dataset of text has."""

    base: str | None = None
    revision: str | None = None
    prompt: str | None = None
    completion: str | None = None
    text: str | None = None
    messages: str | None = None
    tools: str | None = None
    prompt_input: str | None = None
    paraphrase: str | None = None
    perturbed: tuple[str, ...] = ()
    topic: str | None = None
    context: int | None = None
    too_long: TooLong | None = None
    rule: AdapterRule | None = None

    @property
    def names_rows(self) -> bool:
        """Whether the user says which columns have the text that is trained on."""
        named = (self.prompt, self.completion, self.prompt_input, self.text, self.messages)
        return any(column is not None for column in named)

    @property
    def roles(self) -> dict[str, str]:
        """The role of each column that was named, in the order of params.yaml.

        Raises
        ------
        InputError
            If they do not make up rows that can be trained on.
        """
        named = {
            "messages": self.messages,
            "tools": self.tools,
            "prompt": self.prompt,
            "input": self.prompt_input,
            "completion": self.completion,
            "body": self.text,
            "paraphrase": self.paraphrase,
        }
        columns = [(column, role) for role, column in named.items() if column is not None]
        columns += [(column, "perturbed") for column in self.perturbed]
        if self.topic is not None:
            columns.append((self.topic, "topic"))
        pairs = bool(self.prompt or self.completion or self.prompt_input)
        if pairs + bool(self.text) + bool(self.messages) > 1:
            raise InputError("give one of --messages, --prompt with --completion, and --text")
        if not (self.text or self.messages) and not (self.prompt and self.completion):
            raise InputError(
                "a dataset of text needs --messages, --prompt with --completion, or --text"
            )
        if self.tools and not self.messages:
            raise InputError("--tools is for chats: name their column by --messages")
        if self.messages and (self.paraphrase or self.perturbed):
            raise InputError("--paraphrase and --perturbed are for prompts, not for --messages")
        if len({column for column, _ in columns}) != len(columns):
            raise InputError(
                "a column can have only one role: each option must name another column"
            )
        return dict(columns)


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

    def check(self) -> None:
        """Check the options and the folder; nothing is written.

        Raises
        ------
        InputError
            If a file would be overwritten, or an option would be ignored.
        """
        _check_folder(self)
        if (self.example is None) == (self.dataset is None):
            raise InputError(
                "give either --example digits, visits, shapes or authors, or --dataset FILE",
                "--dataset-out PATH takes an output of DVC in this repository as the dataset",
            )
        _refuse_ignored(self)

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

    def check_template(self) -> None:
        """Check that the template supports the given options.

        Raises
        ------
        InputError
            If shards were given for one model, or held-out rows for shards.
        """
        if self.is_posthoc and (self.shards or 1, self.slices or 1) != (1, 1):
            raise InputError(
                "--template posthoc trains one model: it does not accept --shards and --slices"
            )
        if not self.is_posthoc and self.held_out is not None:
            raise InputError("--held-out needs --template posthoc; with shards use --holdout")


#: Options that describe a dataset, which an example does not take.
_DATASET_OPTIONS = (
    "held_out",
    "in_folder",
    "id",
    "target",
    "weight",
    "task",
    "subject",
    "identity",
    "multiline",
    "delimiter",
    "quote",
    "columns",
    "decimal",
    "encoding",
    "drop",
    "keep",
    "kind",
    "missing",
    "missing_columns",
    "rare_categories",
    "category_texts",
    "drop_unlabelled",
    "shards",
    "slices",
    "holdout",
    "model",
    "raw",
    "trust_type",
    "epochs",
    "size",
    "layers_by_slice",
)


#: Those of them that an example takes.
_OWN_OPTIONS = {Example.AUTHORS: ["--size", "--layers-by-slice"], Example.VISITS: ["--model"]}


def given_options(options: InitRequest | TextOptions) -> list[str]:
    """Return the options with a value, as they are written on the command line.

    Of a whole request, these are the ones that describe a dataset.
    """
    if isinstance(options, TextOptions):
        names = [each.name for each in fields(options)]
        more = []
    else:
        names = list(_DATASET_OPTIONS)
        more = given_options(options.text)
    given = [name for name in names if getattr(options, name) not in (None, (), False)]
    return [*(f"--{name.replace('_', '-')}" for name in given), *more]


def _refuse_ignored(request: InitRequest) -> None:
    """Refuse options that would have no effect."""
    given, example = given_options(request), request.example
    if "--size" in given and example is not Example.AUTHORS:
        raise InputError("--size is only for --example authors")
    if request.layers_by_slice and (not request.reads_text or request.is_posthoc):
        raise InputError("--layers-by-slice is for shards of a language model")
    if example is None:
        if {"--held-out", "--holdout"} <= set(given):
            raise InputError("give either --held-out or --holdout: a file of rows, or a share")
        if request.in_folder and request.is_output:
            raise InputError("--in-folder is for a copy of a file: --dataset-out copies nothing")
        if request.in_folder and request.dataset is not None and request.dataset.is_dir():
            raise InputError("--in-folder is for one file: a folder has a nonce in any case")
        if "--missing-columns" in given and request.pinned_missing_columns is None:
            raise InputError("--missing-columns is for a directory of files, not for one file")
        return
    own = _OWN_OPTIONS.get(example, [])
    if ignored := [name for name in given if name not in own]:
        raise InputError(
            f"--example {example} does not accept {', '.join(ignored)}",
            f"it takes {', '.join(['--template', '--ci', *own])}",
        )


#: Files and folders of the dataset of each example.
_DATASETS: Mapping[Example | None, tuple[str, ...]] = {
    Example.DIGITS: (DIGITS_PATH,),
    Example.VISITS: (VISITS_PATH,),
    Example.SHAPES: (SHAPES_PATH, f"{SHAPES_PATH}.dvc", CANARIES_PATH, f"{CANARIES_PATH}.dvc"),
    Example.AUTHORS: (AUTHORS_PATH, BASE_PATH, f"{BASE_PATH}.dvc"),
}


def _check_folder(request: InitRequest) -> None:
    """Refuse a folder whose files would be overwritten."""
    root = request.root
    if root.exists() and not root.is_dir():
        raise InputError(f"{root.name} is a file")
    check_contained(root)
    hint = "init does not overwrite: choose another folder, or move the file"
    if all((root / name).exists() for name in ("schema.yaml", "shards.yaml")):
        raise InputError(
            "a project is in this folder: schema.yaml is there already; nothing was changed",
            hint,
            *_into(root),
        )
    taken = ["schema.yaml", "shards.yaml", "unlearn.key", "data/forget_list.txt", SUPPRESSED]
    taken += ["data/requests", *_DATASETS.get(request.example, ())]
    found = []
    if request.example is not None:
        taken += ["dvc.yaml", "params.yaml"]
    elif joins(root):
        found = taken_names(root, request.template)
        taken += _WRITTEN
    if request.example is Example.AUTHORS and request.is_posthoc:
        taken.append(GENERIC_PATH)
    if request.ci is not None:
        taken.append(REQUIREMENTS)
    found += [f"{name} is there already" for name in dict.fromkeys(taken) if (root / name).exists()]
    found += outputs_around(root, _WRITTEN)
    if found:
        raise InputError(f"{'; '.join(found)}; nothing was changed", hint, *_into(root))


#: What else the stages write: what is there would be lost.
_WRITTEN = (
    *PRIVATE,
    "data/receipts",
    "reports/verdict.json",
    "reports/verify.json",
    "reports/metrics.json",
    "reports/methods",
    "reports/roc.csv",
    "reports/scores.csv",
    "reports/plots/roc.csv",
    "reports/plots/scores.csv",
)


def _into(root: Path) -> list[str]:
    """Return what to do where the folder is that of other stages."""
    return [INTO] if joins(root) else []
