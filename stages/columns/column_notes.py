"""What `init` says about columns: what their values look like, and what to do about it."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

from unlearn.stages.columns.category_counts import CategoryCounts
from unlearn.stages.columns.column_facts import ColumnFacts, how_to_write
from unlearn.stages.config.dataset import MAX_CATEGORIES, DateFormat, FeatureKind
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

#: Formats of texts that have days.
_DAYS = (None, "year_first", "day_first", "month_first")


#: What a model reads of a feature, by kind.
_READ_AS: Mapping[FeatureKind, str] = {
    "numeric": "numbers",
    "boolean": "true or false, yes or no",
    "categorical": "texts that rows share; each is a column",
    "datetime": "dates or times as a number of seconds",
    "calendar": "dates as a number of seconds, weekday and month",
    "ordinal": "values in the order that you gave",
    "hashed_text": "the words of texts, which are hashed into columns",
    "image": "pictures: their pixels",
    "tensor": "arrays of numbers",
}

#: How many columns of a kind are named.
_NAMED = 8


def notes_on_kinds(features: Mapping[str, FeatureKind]) -> Iterator[str]:
    """Yield a line for each kind of feature: which columns have it, and what models read of them.

    Parameters
    ----------
    features
        Kind by feature.
    """
    for kind, read_as in _READ_AS.items():
        names = [name for name, other in features.items() if other == kind]
        if names:
            more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
            yield f"{kind}: {', '.join(names[:_NAMED])}{more} ({read_as})"


def notes_on_rare_categories(
    pinned: Mapping[str, Sequence[str]],
    counts: Mapping[str, CategoryCounts],
    shared_by: str,
) -> Iterator[str]:
    """Yield a sentence for each column with values that are no categories.

    Parameters
    ----------
    pinned
        The categories of each column.
    counts
        The rows of each category, by column.
    shared_by
        How many rows or people share a value that is a category.
    """
    for name, categories in pinned.items():
        found = counts.get(name)
        rare = 0 if found is None else found.different - len(categories)
        if found is None or rare == 0:
            continue
        at_least = "at least " if found.is_cut else ""
        common = found.count_shared - len(categories)
        after = f", and {common:,} after the {MAX_CATEGORIES:,} most common ones"
        yield (
            f"column {name!r}: values of fewer than {shared_by} share one bucket: "
            f"{at_least}{rare - common:,} of {found.different:,}" + (after if common else "")
        )


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
        form = formats.get(name)
        if kind == "datetime":
            chosen = shlex.quote(f"{name}=calendar")
            more = f" (--kind={chosen} adds weekday and month)" if form in _DAYS else ""
            yield f"column {name!r} has {_DATES[form]}{more}"
    for name, found in facts.items():
        if found.has_two_readings:
            yield (
                f"column {name!r} has dates whose day and month cannot be told apart: they are no "
                "numbers; write them as 2024-01-31"
            )


def notes_on_codes(features: Iterable[str], facts: Mapping[str, ColumnFacts]) -> Iterator[str]:
    """Yield a sentence for each feature whose numbers are codes.

    Parameters
    ----------
    features
        Features whose kind the user did not choose.
    facts
        What was found about each column, of a table whose decimal mark is known.
    """
    for name in sorted(features):
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

    `features` has the kind of each feature; see `notes_on_codes` for `facts`.
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

    `features` has the kind of each feature; see `notes_on_codes` for `facts`.

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
