"""How the files of a dataset are read: what params.yaml says about them."""

from collections.abc import Collection
from dataclasses import dataclass, field

from unlearn.stages.config.dataset import (
    TENSOR_KINDS,
    CsvParams,
    DatasetParams,
    MissingColumns,
)
from unlearn.stages.config.text import BESIDE_CHATS
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.column_types import ColumnUse, ColumnUses

#: Kinds of features whose values may have line ends, where the dataset allows any. A category has
#: none: `init` leaves such columns out as text.
_MAY_HAVE_LINE_ENDS = frozenset(
    {
        "prompt",
        "input",
        "completion",
        "body",
        "paraphrase",
        "perturbed",
        "messages",
        "tools",
        "hashed_text",
    }
)

#: Kinds of features whose values are lists of objects, or JSON text of them.
_CHATS = ("messages", "tools")

#: Kinds of features whose values count, and not their text.
_VALUES = frozenset({"numeric", "boolean", "datetime", "calendar"})


@dataclass(frozen=True)
class Reading:
    """How the files of a dataset are read.

    Parameters
    ----------
    multiline
        Whether values in quotes may have line ends. A quote that is missing or too many looks like
        such a value, so they are refused by default.
    single_line
        Columns whose values never have line ends.
    csv
        How CSV files are written; None for RFC 4180, with tabs in files that end in `.tsv`.
    numeric
        Columns whose numbers have the decimal mark of `csv`, to be read with a point.
    missing_columns
        What happens if a file of a directory lacks a column that others have.
    required
        Columns that no file may lack in any case.
    uses
        How columns are used, which decides how far their types may differ from file to file.
    tensors
        Columns with a picture or a tensor in each row: lists and arrays in them stay whole.
    pictures
        Whether a folder may have pictures beside its tables.
    chats
        Columns with a chat in each row, and what can be beside one: of JSON, their lists and
        objects are read as the JSON text of them.
    """

    multiline: bool = False
    single_line: frozenset[str] = frozenset()
    csv: CsvParams | None = None
    numeric: frozenset[str] = frozenset()
    missing_columns: MissingColumns = "refuse"
    required: frozenset[str] = frozenset()
    uses: ColumnUses = field(default_factory=ColumnUses)
    tensors: frozenset[str] = frozenset()
    pictures: bool = True
    chats: frozenset[str] = frozenset()

    @classmethod
    def of(cls, dataset: DatasetParams) -> "Reading":
        """Return how the files of a dataset are read; rows of text may have line ends."""
        roles = (dataset.id, dataset.subject, dataset.target, dataset.weight)
        others = [
            name for name, kind in dataset.features.items() if kind not in _MAY_HAVE_LINE_ENDS
        ]
        return cls(
            multiline=dataset.has_line_ends,
            single_line=frozenset(filter(None, [*roles, *others])),
            csv=dataset.csv,
            numeric=_numeric(dataset),
            missing_columns=dataset.missing_columns,
            required=_required(dataset),
            uses=_uses(dataset),
            tensors=frozenset(
                name for name, kind in dataset.features.items() if kind in TENSOR_KINDS
            ),
            pictures="image" in dataset.features.values(),
            chats=_chats(dataset),
        )


def _numeric(dataset: DatasetParams) -> frozenset[str]:
    """Return the columns whose values are numbers: features, weights, a regression's target."""
    features = [name for name, kind in dataset.features.items() if kind == "numeric"]
    target = dataset.target if dataset.task == "regression" else None
    return frozenset(filter(None, [*features, target, dataset.weight]))


def _chats(dataset: DatasetParams) -> frozenset[str]:
    chats = frozenset(name for name, kind in dataset.features.items() if kind in _CHATS)
    return chats | frozenset(BESIDE_CHATS) if chats else chats


def _required(dataset: DatasetParams) -> frozenset[str]:
    """Return the columns that no file may lack: a row has to be somebody's, and of some use."""
    kinds = ("prompt", "completion", "body", "messages", *TENSOR_KINDS)
    trained_on = [name for name, kind in dataset.features.items() if kind in kinds]
    target = None if dataset.drop_unlabelled else dataset.target
    others = (dataset.id, dataset.subject, target, dataset.weight)
    return frozenset(filter(None, [*others, *trained_on]))


def _uses(dataset: DatasetParams) -> ColumnUses:
    """Return how the columns of a dataset are used; nobody reads those that have no name there."""
    # Whole numbers are one id however they are typed. Older projects read ids as they are typed.
    ids: dict[str | None, ColumnUse] = {
        name: "id" if id_type == "text" else "none"
        for name, id_type in (
            (dataset.id, dataset.id_type),
            (dataset.subject, dataset.subject_type),
        )
    }
    # A picture can be a path in one file, and bytes in another one; a chat a list, or JSON text.
    features: dict[str, ColumnUse] = {
        name: "none"
        if kind in (*TENSOR_KINDS, *_CHATS)
        else "value"
        if kind in _VALUES
        else "label"
        for name, kind in dataset.features.items()
    }
    roles = {name: use for name, use in ids.items() if name is not None}
    use: ColumnUse = "value" if dataset.task == "regression" else "label"
    target: dict[str, ColumnUse] = {} if dataset.target is None else {dataset.target: use}
    weight: dict[str, ColumnUse] = {} if dataset.weight is None else {dataset.weight: "value"}
    return ColumnUses({**features, **target, **weight, **roles}, others="none")


#: One line, one row: as files are read of which nothing is known.
ONE_LINE_A_ROW = Reading()


class NoColumnsError(InputError):
    """A file has neither columns nor rows."""


def check_header(header: list[str], name: str) -> list[str]:
    """Return a file's column names, if there are any and none stands twice."""
    if not header:
        raise InputError(f"{name} has no columns", facts=Facts(file=name))
    if len(set(header)) != len(header):
        # Not its name: in a file without a header it is a value of the first row.
        raise InputError(
            f"{name}: a column name stands twice in the header", facts=Facts(file=name, row=0)
        )
    return header


def chosen_columns(columns: list[str], only: Collection[str] | None) -> list[str]:
    """Return the columns to read: those of `only`, or all if the file has none of these."""
    return [column for column in columns if column in (only or columns)] or columns
