"""How the text files of a dataset are read: what params.yaml says about them."""

from collections.abc import Collection
from dataclasses import dataclass

from unlearn.stages.config.dataset import CsvParams, DatasetParams
from unlearn.stages.errors import Facts, InputError

#: Kinds of features whose values may have line ends, where the dataset allows any.
_MAY_HAVE_LINE_ENDS = frozenset(
    {"categorical", "prompt", "completion", "body", "paraphrase", "perturbed"}
)


@dataclass(frozen=True)
class Reading:
    """How CSV files are read.

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
    """

    multiline: bool = False
    single_line: frozenset[str] = frozenset()
    csv: CsvParams | None = None
    numeric: frozenset[str] = frozenset()

    @classmethod
    def of(cls, dataset: DatasetParams) -> "Reading":
        """Return how the files of a dataset are read; rows of text may have line ends."""
        roles = (dataset.id, dataset.subject, dataset.target)
        others = [
            name for name, kind in dataset.features.items() if kind not in _MAY_HAVE_LINE_ENDS
        ]
        return cls(
            multiline=dataset.has_line_ends,
            single_line=frozenset(filter(None, [*roles, *others])),
            csv=dataset.csv,
            numeric=frozenset(name for name, kind in dataset.features.items() if kind == "numeric"),
        )


#: One line, one row: as files are read of which nothing is known.
ONE_LINE_A_ROW = Reading()


class NoColumnsError(InputError):
    """A file has neither columns nor rows."""


def check_header(header: list[str], name: str) -> list[str]:
    """Return a file's column names, if there are any and none stands twice."""
    if not header:
        raise InputError(f"{name} has no columns", facts=Facts(file=name))
    if len(set(header)) != len(header):
        twice = next(column for column in header if header.count(column) > 1)
        raise InputError(
            f"{name}: the column {twice!r} stands twice in the header",
            facts=Facts(file=name, row=0, column=twice, columns=tuple(header)),
        )
    return header


def chosen_columns(columns: list[str], only: Collection[str] | None) -> list[str]:
    """Return the columns to read: those of `only`, or all if the file has none of these."""
    return [column for column in columns if column in (only or columns)] or columns
