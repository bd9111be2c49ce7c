"""What `init` says about columns: what their values look like, and what to do about it."""

import shlex
from collections.abc import Iterable, Iterator, Mapping

from unlearn.stages.columns.category_counts import CategoryCounts
from unlearn.stages.columns.column_facts import ColumnFacts, how_to_write
from unlearn.stages.config.dataset import DateFormat, FeatureKind
from unlearn.stages.rows.schema import is_float

#: How many groups of categories notes name.
_SHOWN = 3

#: What notes say about dates and times, by how they are written.
_NUMBER = "it is a number, in seconds since"
_DATES: dict[DateFormat | None, str] = {
    None: f"dates or times: {_NUMBER} 1970",
    "year_first": f"dates with the year first: {_NUMBER} 1970",
    "day_first": f"dates with the day first: {_NUMBER} 1970",
    "month_first": f"dates with the month first: {_NUMBER} 1970",
    "time": f"times of day: {_NUMBER} midnight",
}


def notes_on_dates(
    features: Mapping[str, FeatureKind],
    facts: Mapping[str, ColumnFacts],
    formats: Mapping[str, DateFormat],
) -> Iterator[str]:
    """Yield a sentence for each column with dates or times.

    Parameters
    ----------
    features
        Kind by feature.
    facts
        What was found about each column.
    formats
        How dates are written, where not as ISO 8601 says.
    """
    for name, kind in features.items():
        if kind == "datetime":
            yield f"column {name!r} has {_DATES[formats.get(name)]}"
    for name, found in facts.items():
        if found.has_two_readings:
            yield (
                f"column {name!r} has dates whose day and month cannot be told apart: they are no "
                "numbers; write them as 2024-01-31"
            )


def notes_on_codes(
    features: Mapping[str, FeatureKind], facts: Mapping[str, ColumnFacts]
) -> Iterator[str]:
    """Yield a sentence for each feature whose numbers are codes.

    Parameters
    ----------
    features
        Kind by feature.
    facts
        What was found about each column, of a table whose decimal mark is known.
    """
    for name in features:
        if (codes := facts[name].codes) is not None:
            place, count = codes
            values = "1 number begins" if count == 1 else f"{count:,} numbers begin"
            yield (
                f"column {name!r}: {values} with 0, such as that of {place}: its values are "
                "categories, as codes are; write quantities without such zeros"
            )


def notes_on_marks(
    features: Mapping[str, FeatureKind], facts: Mapping[str, ColumnFacts]
) -> Iterator[str]:
    """Yield a sentence for each categorical feature whose values look like numbers.

    See `notes_on_codes` for parameters.
    """
    for name, kind in features.items():
        if kind == "categorical" and facts[name].like_numbers:
            yield (
                f"column {name!r} is categorical, but its values look like numbers: "
                f"{how_to_write(facts[name])} if they are meant as numbers"
            )


def notes_on_nines(
    features: Mapping[str, FeatureKind], facts: Mapping[str, ColumnFacts], missing: Iterable[str]
) -> Iterator[str]:
    """Yield a sentence for each number that may mean a missing value.

    See `notes_on_codes` for the other parameters.

    Parameters
    ----------
    missing
        Texts that mean one already.
    """
    known = {float(text) for text in missing if is_float(text)}
    for name, kind in features.items():
        if kind != "numeric":
            continue
        for number, count in facts[name].numbers.far_nines().items():
            if number not in known:
                yield (
                    f"column {name!r}: {number:.0f} in {count:,} rows is far from all other "
                    f"numbers; if it means a missing value: --missing={number:.0f}"
                )


def notes_on_spellings(
    features: Mapping[str, FeatureKind], counts: Mapping[str, CategoryCounts]
) -> Iterator[str]:
    """Yield a sentence for categories of a feature that differ only in case or outer spaces.

    Parameters
    ----------
    features
        Kind by feature.
    counts
        The rows of each category.
    """
    for name, kind in features.items():
        if kind != "categorical" or name not in counts:
            continue
        groups = list(counts[name].spellings())
        for rows, others, rest in groups[:_SHOWN]:
            each = [f"{value!r} in {count:,} rows" for value, count in rows.items()]
            if others:
                values = "1 rare value" if others == 1 else f"{others:,} rare values"
                each.append(f"{values} in {rest:,} row{'s' * (rest != 1)}")
            yield (
                f"column {name!r} has categories that differ only in case or outer spaces: "
                f"{', '.join(each)}"
            )
        if len(groups) > _SHOWN:
            yield f"column {name!r} has {len(groups) - _SHOWN:,} more such groups of categories"


def why_no_feature(name: str, facts: ColumnFacts, shared_by: str) -> str:
    """Return why a column whose values are all rare is left out.

    Parameters
    ----------
    name, facts
        The column, and what was found about it.
    shared_by
        How many rows or people would have to share a value.
    """
    codes = "its numbers begin with 0, as codes do, and " if facts.codes is not None else ""
    like = f"; its values look like numbers: {how_to_write(facts)}" if facts.like_numbers else ""
    return f"{codes}no value is shared by {shared_by}; --keep={shlex.quote(name)} keeps it{like}"
