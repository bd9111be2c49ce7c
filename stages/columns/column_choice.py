"""What the user of `init` says about columns that are no id, subject or target."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from unlearn.stages.config.dataset import DEFAULT_MISSING, FeatureKind
from unlearn.stages.config.section import Task
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.fixed_lists import list_of


@dataclass(frozen=True)
class ColumnChoice:
    """What the user says about columns that are no id, subject or target.

    Attributes
    ----------
    drop, keep
        Columns that are no features, and columns that are features although they would be left
        out or refused.
    missing
        Texts that mean a missing value.
    min_rows
        From so many rows, or people where rows name people, on a value is a category; None where
        all values are.
    drop_unlabelled
        Whether rows without a target are left out.
    kinds
        Kind by column, where the user chose it.
    orders
        The values of each ordinal column, from the least to the greatest.
    hashed_columns
        How many columns of numbers each hashed text becomes.
    shapes
        The shape of arrays, where the user chose it.
    task
        What the target is; None where its values are to tell.
    """

    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    missing: tuple[str, ...] = DEFAULT_MISSING
    min_rows: int | None = None
    drop_unlabelled: bool = False
    kinds: Mapping[str, FeatureKind] = field(default_factory=dict)
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hashed_columns: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    task: Task | None = None

    def check(
        self, columns: Collection[str], name: str, roles: Collection[str], target: str
    ) -> None:
        """Check that the columns that are named are there, and no roles.

        Parameters
        ----------
        columns, name
            The columns of the dataset, and what errors call it.
        roles, target
            The columns of ids and targets, and the target, whose numbers can be kept as classes.

        Raises
        ------
        InputError
            If a column is not there, or is an id, the subject or the target.
        """
        if self.task == "regression" and target in self.keep:
            raise InputError(
                f"--keep={target} makes its numbers classes, and --task regression does not",
                facts=Facts(column=target),
            )
        options = (("--drop", self.drop), ("--keep", self.keep), ("--kind", tuple(self.kinds)))
        for option, named in options:
            for column in named:
                lists = {list_of(each) for each in columns} if option == "--drop" else set[str]()
                if column not in columns and column not in lists:
                    raise InputError(
                        f"{option}: {name} has no column {column!r}",
                        f"its columns: {', '.join(map(repr, columns))}",
                        facts=Facts(file=name, column=column, columns=tuple(columns)),
                    )
                if column in roles and (option, column) != ("--keep", target):
                    raise InputError(
                        f"{option}: {column!r} is the id, subject, target or weight, not a feature",
                        facts=Facts(column=column),
                    )

    def is_kept(self, column: str) -> bool:
        """Return whether the user says that a column is a feature."""
        return column in self.keep or column in self.kinds

    def drops(self, column: str) -> bool:
        """Return whether a column, or the lists that it is from, is dropped."""
        return column in self.drop or list_of(column) in self.drop
