"""The schema that `init` pins, found batch by batch."""

import re
import shlex
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.columns.array_columns import ArrayColumns
from unlearn.stages.columns.category_counts import CategoryCounts, hash_people
from unlearn.stages.columns.column_choice import ColumnChoice
from unlearn.stages.columns.column_facts import (
    NUMBERS,
    ColumnFacts,
    TextValues,
    ValueKind,
    is_long,
    kind_of_type,
    refuse_mixed,
    see_words,
    stray_line_end,
    values_by_kind,
    why_text,
    why_unreadable,
)
from unlearn.stages.columns.column_notes import (
    notes_on_codes,
    notes_on_dates,
    notes_on_marks,
    notes_on_nines,
    notes_on_rare_categories,
    notes_on_spellings,
    why_no_feature,
)
from unlearn.stages.columns.distinct_values import DistinctValues
from unlearn.stages.columns.number_facts import any_numbers, plain_numbers
from unlearn.stages.columns.number_marks import marks_of
from unlearn.stages.columns.target_facts import TargetFacts
from unlearn.stages.config.dataset import (
    DATE_KINDS,
    LISTED_KINDS,
    MAX_CATEGORIES,
    MAX_FEATURES,
    TENSOR_KINDS,
    DateFormat,
    Decimal,
    FeatureKind,
)
from unlearn.stages.config.section import Task
from unlearn.stages.errors import InputError
from unlearn.stages.reading.decimals import find_decimal
from unlearn.stages.reading.needed_columns import require_column
from unlearn.stages.reading.picture_files import PictureFolder
from unlearn.stages.reading.records import RowPlace, place_of_row
from unlearn.stages.rows.texts import as_text

#: More distinct values than this in a text column look like names or free text.
MANY_CATEGORIES = 200

#: In fewer rows, a value is no category, where the user does not say how many it takes.
_FEWEST_ROWS = 2

#: Row numbers, as pandas and Dask write and read them.
_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__|__null_dask_index__")


@dataclass
class SchemaFinder:
    """Finds the schema that `init` pins, batch by batch.

    Parameters
    ----------
    id_column, target_column, subject_column, weight_column
        The columns that are no features.
    choice
        What the user says about the other columns.
    is_csv, known_decimal
        Whether numbers may have a decimal comma, and the decimal mark if the user chose it.
    pictures
        Reads the pictures that rows name; None where there is no folder of them.
    """

    id_column: str
    target_column: str
    subject_column: str | None
    choice: ColumnChoice = field(default_factory=ColumnChoice)
    is_csv: bool = False
    known_decimal: Decimal | None = None
    weight_column: str | None = None
    pictures: PictureFolder | None = None
    rows: int = 0
    _facts: dict[str, ColumnFacts] = field(default_factory=dict)
    _counts: dict[str, CategoryCounts] = field(default_factory=dict)
    _values: dict[str, DistinctValues] = field(default_factory=dict)
    _target: TargetFacts | None = None
    _arrays: ArrayColumns = field(init=False)
    _name: str = ""

    def __post_init__(self) -> None:
        self._arrays = ArrayColumns(self.choice.kinds, self.choice.shapes, self.pictures)

    def see(self, batch: pa.Table, name: str) -> None:
        """Take a batch into account.

        Raises
        ------
        InputError
            If a column that was named is not there, or a row has no class.
        """
        self._name = name
        roles = self._roles
        for column in roles:
            require_column(batch, column, name)
        if self.rows == 0:
            self.choice.check(batch.column_names, name, roles, self.target_column)
        if batch.num_columns - len(roles) > MAX_FEATURES:
            raise InputError(
                f"{name} has {batch.num_columns:,} columns, and at most {MAX_FEATURES:,} can be "
                "features"
            )
        for column in batch.column_names:
            if column not in roles and not self.choice.drops(column):
                self._see_feature(batch, column)
        self._count_categories(batch)
        self.target.see(batch, name)
        self.rows += batch.num_rows

    @property
    def _roles(self) -> list[str]:
        roles = (self.id_column, self.target_column, self.subject_column, self.weight_column)
        return sorted({role for role in roles if role is not None})

    def _see_feature(self, batch: pa.Table, name: str) -> None:
        facts = self._facts.setdefault(name, ColumnFacts())
        column = batch[name]
        if (array := self._arrays.see(name, column)) is not None:
            facts.typed = array
            return
        if problem := why_unreadable(column.type):
            facts.left_out = problem
        if facts.left_out is not None:
            return
        in_file = self._place(batch, 0).row - 1
        facts.numbers.see_rows(column, in_file, self.rows)
        typed = kind_of_type(column.type)
        if typed is not None:
            facts.typed = typed
            if typed == "numeric":
                facts.numbers.see_numbers(column)
            self._count(facts, typed, column.is_valid(), batch)
            return
        self._values[name] = DistinctValues.of(as_text(column, name), self._missing)
        self._see_texts(facts, self._values[name], batch, name)

    def _see_texts(
        self, facts: ColumnFacts, values: DistinctValues, batch: pa.Table, name: str
    ) -> None:
        found = values.texts
        if len(facts.distinct) <= MANY_CATEGORIES:
            facts.distinct.update(found.to_pylist())
        if self.is_csv and len(found):
            facts.decimals.see(found)
        numbers = plain_numbers(found)
        if numbers is not None:
            facts.numbers.see_texts(found, numbers, values.count)
        by_kind = values_by_kind(found, is_csv=self.is_csv, numbers=numbers)
        for kind, some in by_kind.items():
            self._count_values(facts, kind, some, batch, name)
            if kind in NUMBERS and numbers is None:
                facts.numbers.see_texts(some, any_numbers(some), values.count)
            elif kind == "marked":
                facts.marks.update(*(marks_of(text.strip()) for text in some.to_pylist()))
        if "categorical" in by_kind:
            found = by_kind["categorical"]
            see_words(facts, found)
            long = why_text(found)
            if long is not None:
                first = values.first_row(pc.index(values.texts, long.values[0]).as_py())
                self._see_text(name, long, self._place(batch, first), batch.num_columns)

    def _see_text(self, name: str, long: TextValues, place: RowPlace, columns: int) -> None:
        facts = self._facts[name]
        if long.has_line_end:
            facts.line_end = facts.line_end or place
            if self.is_csv and long.has_rows_inside(columns):
                raise stray_line_end(name, place)
        if facts.text is None:
            facts.text = f"it is text and no category: the value of {place} {long.text}"

    def _count_categories(self, batch: pa.Table) -> None:
        """Count the values of all columns that are, or may become, categorical."""
        if batch.num_rows == 0:
            self._values.clear()
            return
        people = None
        if self.subject_column is not None:
            people = hash_people(as_text(batch[self.subject_column], self.subject_column))
        for name, facts in self._facts.items():
            is_typed = kind_of_type(batch[name].type) is not None and not self.choice.is_kept(name)
            is_text = facts.text is not None and facts.line_end is None
            is_array = facts.typed in TENSOR_KINDS
            if facts.left_out is not None or is_text or is_typed or is_array:
                self._counts.pop(name, None)
                continue
            values = self._values.pop(name, None)
            if values is None:
                values = DistinctValues.of(as_text(batch[name], name), self._missing)
            if facts.text is not None:
                values = values.without(is_long(values.texts))
            enough = self.choice.min_rows or _FEWEST_ROWS
            counts = self._counts.setdefault(name, CategoryCounts(enough))
            counts.see(values, people)
        self._values.clear()

    @property
    def _missing(self) -> pa.Array:
        return pa.array(list(self.choice.missing), pa.string())

    def _count(
        self, facts: ColumnFacts, kind: ValueKind, mask: pa.ChunkedArray, batch: pa.Table
    ) -> None:
        count = pc.sum(mask).as_py() or 0
        if count == 0:
            return
        facts.rows[kind] += count
        if kind not in facts.first:
            index = pc.index(mask, value=True).as_py()
            facts.first[kind] = (self.rows + index, self._place(batch, index))

    def _count_values(
        self, facts: ColumnFacts, kind: ValueKind, some: pa.Array, batch: pa.Table, name: str
    ) -> None:
        """Count the rows whose values are of a kind: `some` of the different ones."""
        values = self._values[name]
        facts.rows[kind] += values.count(some)
        if kind not in facts.first:
            index = values.first_row(pc.index(values.texts, some[0]).as_py())
            facts.first[kind] = (self.rows + index, self._place(batch, index))

    def _place(self, batch: pa.Table, index: int) -> RowPlace:
        return place_of_row(batch, index, self._name, self.rows + 1)

    @property
    def target(self) -> TargetFacts:
        """What is known about the column of the target."""
        if self._target is None:
            kept = self.target_column in self.choice.keep
            self._target = TargetFacts(
                self.target_column,
                asked=self.choice.task,
                kept=kept,
                missing=self.choice.missing,
                drops=self.choice.drop_unlabelled,
                is_csv=self.is_csv,
            )
        return self._target

    @property
    def task(self) -> Task:
        """What the target is; see `TargetFacts.settle` for errors."""
        return self.target.settle(self.decimal)

    @property
    def classes(self) -> list[str]:
        """The class labels, numbers in numeric order, else in text order; none of a regression."""
        return [] if self.task == "regression" else self.target.classes

    @property
    def features(self) -> dict[str, FeatureKind]:
        """Kind by column; a column that is always missing counts as categorical.

        Raises
        ------
        InputError
            If almost all values of a column are of one kind and the others are not, or the user
            keeps a column that cannot be a feature.
        """
        for name, facts in self._settled.items():
            if name in self.choice.kinds:
                self._check_chosen(name, facts)
                continue
            if facts.line_end is not None and self._is_no_text(name, facts):
                raise stray_line_end(name, facts.line_end)
            if name not in self.choice.keep:
                refuse_mixed(name, facts)
                if self.known_decimal is None and "comma" in self._facts[name].rows:
                    refuse_mixed(name, self._facts[name].with_decimal(",").with_dates())
            elif problem := facts.left_out or (facts.kind == "categorical" and facts.text):
                raise InputError(f"--keep: column {name!r} cannot be a feature: {problem}")
        left_out = self.left_out
        return {
            name: self.choice.kinds.get(name, facts.kind)
            for name, facts in self._settled.items()
            if name not in left_out
        }

    def _check_chosen(self, name: str, facts: ColumnFacts) -> None:
        """Refuse a kind that no value of the column can have; `rows.schema` checks each value."""
        kind = self.choice.kinds[name]
        problem = facts.left_out or (facts.text if kind in LISTED_KINDS else None)
        if problem:
            hint = f"--kind={shlex.quote(f'{name}=hashed_text')} takes its words"
            raise InputError(
                f"--kind: column {name!r} cannot be {kind}: {problem}",
                *([] if facts.left_out else [hint]),
            )

    @property
    def _settled(self) -> dict[str, ColumnFacts]:
        decimal = self.decimal
        return {
            name: facts.with_decimal(decimal).with_dates() for name, facts in self._facts.items()
        }

    @property
    def arrays(self) -> ArrayColumns:
        """What is known about columns of pictures and other arrays."""
        return self._arrays

    @property
    def date_formats(self) -> dict[str, DateFormat]:
        """How dates and times are written, by feature, where not as ISO 8601 says."""
        settled = self._settled
        return {
            name: form
            for name, kind in self.features.items()
            if kind in DATE_KINDS and (form := settled[name].date_format) is not None
        }

    def notes_on_dates(self) -> list[str]:
        """Return a sentence for each column with dates or times."""
        return list(notes_on_dates(self.features, self._facts, self.date_formats))

    def notes_on_values(self) -> list[str]:
        """Return a sentence for each column whose values may not be what they seem."""
        features, settled = self.features, self._settled
        kept = {name: kind for name, kind in features.items() if not self.choice.is_kept(name)}
        return [
            *notes_on_codes(features.keys() - self.choice.kinds.keys(), settled),
            *notes_on_marks(kept, settled),
            *notes_on_nines(features, settled, self.choice.missing),
            *notes_on_spellings(features, self._counts),
        ]

    @property
    def decimal(self) -> Decimal:
        """The decimal mark of numbers; see `find_decimal` for errors."""
        columns = [
            (name, {"point"} <= set(facts.rows) <= {"numeric", "point", "code"}, facts.decimals)
            for name, facts in self._facts.items()
        ]
        forms = self.target.forms
        # Classes such as 1,5 say nothing about the decimal mark of numbers.
        likely = {self.target.task("."), self.target.task(",")} != {"classification"}
        if self.target.may_be_numbers and likely:
            columns.append((self.target_column, forms.are_numbers("."), forms.decimals))
        return find_decimal(columns, self.known_decimal)

    @property
    def left_out(self) -> dict[str, str]:
        """The reason by column that is no feature although the user did not drop it."""
        reasons: dict[str, str] = {}
        for name, facts in self._settled.items():
            if facts.left_out is not None:
                reasons[name] = facts.left_out
            elif name in self.choice.kinds:
                continue
            elif _INDEX.fullmatch(name) and name not in self.choice.keep:
                reasons[name] = f"it looks like row numbers; --keep={shlex.quote(name)} keeps it"
            elif self._are_row_numbers(name):
                reasons[name] = f"it numbers the rows; --keep={shlex.quote(name)} keeps it"
            elif facts.kind == "categorical" and facts.text:
                chosen = shlex.quote(f"{name}=hashed_text")
                reasons[name] = f"{facts.text}; --kind={chosen} takes its words"
            elif facts.kind == "categorical" and self._shares_nothing(name):
                shared_by = f"{self.choice.min_rows} {self._sharers}"
                reasons[name] = why_no_feature(name, facts, shared_by)
        return reasons

    def _are_row_numbers(self, name: str) -> bool:
        return self._facts[name].numbers.are_row_numbers and name not in self.choice.keep

    def _is_no_text(self, name: str, facts: ColumnFacts) -> bool:
        """Return whether most values of a column are of another kind, or shared as categories."""
        others = facts.rows.total() - facts.rows["categorical"]
        shared = self._counts[name].rows_shared if name in self._counts else 0
        return 2 * (others + shared) >= facts.rows.total()

    def _shares_nothing(self, name: str) -> bool:
        if self.choice.min_rows is None or name in self.choice.keep:
            return False
        return name not in self._counts or self._counts[name].count_shared == 0

    @property
    def _sharers(self) -> str:
        return "rows" if self.subject_column is None else "people"

    @property
    def categories(self) -> dict[str, list[str]]:
        """The categories to pin, by categorical and ordinal feature."""
        ordinal = {name: list(values) for name, values in self.choice.orders.items()}
        return ordinal | self._common_categories

    @property
    def _common_categories(self) -> dict[str, list[str]]:
        """The categories of categorical features that are pinned; none where models learn them."""
        if self.choice.min_rows is None:
            return {}
        return {
            name: self._counts[name].shared(MAX_CATEGORIES) if name in self._counts else []
            for name, kind in self.features.items()
            if kind == "categorical"
        }

    def notes_on_categories(self) -> list[str]:
        """Return a sentence for each column with values that are no categories."""
        shared_by = f"{self.choice.min_rows} {self._sharers}"
        return list(notes_on_rare_categories(self._common_categories, self._counts, shared_by))

    @property
    def many_categories(self) -> list[str]:
        """Text columns with many different values, which may be names or free text."""
        return [
            name
            for name, kind in self.features.items()
            if kind == "categorical" and len(self._facts[name].distinct) > MANY_CATEGORIES
        ]
