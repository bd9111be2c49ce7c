"""Ids as Python callers name them: in a file, or one by one."""

import numbers
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unlearn.cli.ids import content_of
from unlearn.stages.errors import InputError
from unlearn.stages.requests.id_file import Wanted, read_ids
from unlearn.stages.rows.tokens import check_raw_id

#: Ids: several of them, or a file with one on each line.
Ids = Iterable[Any] | Path


def wanted_ids(ids: Ids | None, subjects: Ids | None) -> Wanted | None:
    """Return the ids of records and of persons that a request names; None if it names none.

    Parameters
    ----------
    ids, subjects
        See `Project.forget`.

    Raises
    ------
    InputError
        If one of them is a single text, has no ids, or has something that is no id.
    """
    if ids is None and subjects is None:
        return None
    return Wanted(
        tuple(_read(ids, "ids")),
        tuple(_read(subjects, "subjects")),
        record_file=ids.name if isinstance(ids, Path) else None,
        subject_file=subjects.name if isinstance(subjects, Path) else None,
    )


def _read(given: Ids | None, name: str) -> list[tuple[str, str]]:
    if given is None:
        return []
    if isinstance(given, Path):
        # Made absolute: a dash is a file here, and not standard input.
        return read_ids(content_of(given.absolute()), given.name)
    if isinstance(given, str | bytes):
        raise InputError(
            f"{name}: one text can be an id or the name of a file",
            f"an id: {name}=[...]; a file with an id on each line: {name}=pathlib.Path(...)",
        )
    try:
        items = list(given)
    except TypeError:
        raise InputError(f"{name}: give a list of ids, or pathlib.Path of a file") from None
    if not items:
        raise InputError(f"{name} holds no ids")
    return [(_text(item, f"{name}, item {at}"), f"item {at}") for at, item in enumerate(items, 1)]


def _text(item: Any, where: str) -> str:
    """Return an id as text; numbers are written as files write them."""
    for plain in ("as_py", "item"):  # scalars of Arrow and NumPy
        if hasattr(item, plain):
            item = getattr(item, plain)()
    is_number = isinstance(item, numbers.Real) and not isinstance(item, bool)
    if not isinstance(item, str) and not (is_number and item == item):  # noqa: PLR0124 - NaN
        raise InputError(f"{where} is neither a text nor a number")
    text = str(item)
    check_raw_id(text, where)
    return text
