"""How the ids of a new project are read: found from all rows, or stated by the user."""

import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from unlearn.cli.init.request.choices import Identity
from unlearn.cli.init.request.request import InitRequest
from unlearn.cli.output import progress
from unlearn.stages.config.dataset import CsvParams, IdType
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.column_types import ColumnUse, ColumnUses
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.ids import IdKind
from unlearn.stages.rows.look_alikes import LookAlikeFinder, refuse_look_alikes
from unlearn.stages.rows.roles import IdTypeFinder


@dataclass(frozen=True)
class Roles:
    """What params.yaml is to say about ids.

    Attributes
    ----------
    id_type, subject_type
        What all ids of a column are; `subject_type` is None where no subject is named.
    identity
        Which ids are one.
    """

    id_type: IdType = "text"
    subject_type: IdType | None = None
    identity: Identity = Identity.EXACT


#: Of a dataset of text ids, without people.
TEXT = Roles()


def find_roles(
    request: InitRequest,
    id_: str,
    see: Callable[[pa.Table, str], None] = lambda _batch, _name: None,
    csv: CsvParams | None = None,
) -> tuple[Roles, int]:
    """Read all rows once; return how ids are to be read, and the number of rows.

    Parameters
    ----------
    request
        Files and columns. Rows held out are read as well, but not counted.
    id_
        The column of record ids.
    see
        Called with each batch of the dataset and its name.
    csv
        How CSV files are written.

    Raises
    ------
    InputError
        If there are no rows, a column cannot name anybody, or ids differ only in case or spaces
        and the user did not say what they are.
    """
    columns: dict[IdKind, str] = {"record": id_}
    if request.subject is not None:
        columns["subject"] = request.subject
    types = {
        kind: IdTypeFinder(kind, column, folded=request.identity is Identity.FOLDED)
        for kind, column in columns.items()
    }
    rows = 0
    with (
        ExitStack() as stack,
        tempfile.TemporaryDirectory(prefix="unlearn-init-") as scratch,
        progress("reading rows", None, "rows") as advance,
    ):
        searched = columns if request.identity is None else {}
        finders = {kind: LookAlikeFinder(stack, Path(scratch) / kind) for kind in searched}
        for batch, name, is_held_out in _all_batches(request, columns.values(), csv):
            if not is_held_out:
                rows += batch.num_rows
                see(batch, name)
            for kind, finder in types.items():
                texts = finder.see(batch, name)
                if kind in finders:
                    finders[kind].see(texts, batch)
            advance(batch.num_rows)
        for kind, look_alikes in finders.items():
            if types[kind].id_type == "text":
                refuse_look_alikes(columns[kind], look_alikes.found())
    return _roles(request, {kind: finder.id_type for kind, finder in types.items()}), rows


def _all_batches(
    request: InitRequest, columns: Collection[str], csv: CsvParams | None
) -> Iterator[tuple[pa.Table, str, bool]]:
    """Yield all rows, with the name of their dataset, and whether they are held-out rows."""
    source, held_out = request.dataset, request.held_out
    if source is None:
        raise AssertionError("the options were checked")
    reading = Reading(
        multiline=request.has_line_ends,
        single_line=frozenset({*columns, request.target or "", request.weight or ""}),
        csv=csv,
        missing_columns=request.pinned_missing_columns or "refuse",
        required=frozenset(
            filter(
                None,
                [*columns, request.weight, None if request.drop_unlabelled else request.target],
            )
        ),
        uses=_uses(request, columns),
        tensors=request.array_columns,
    )
    empty = True
    for batch in read_batches(source, source.name, reading=reading):
        empty &= batch.num_rows == 0
        yield batch, source.name, False
    if empty:
        raise InputError(f"{source.name} has no rows", facts=Facts(file=source.name))
    if held_out is not None:
        for batch in read_batches(held_out, held_out.name, columns, reading):
            yield batch, held_out.name, True


def _uses(request: InitRequest, columns: Collection[str]) -> ColumnUses:
    """Return how columns are used as far as it is known: all columns of a table can be features.

    How ids are used is known once all were read. Text for a language model has no other columns.
    """
    named: dict[str, ColumnUse] = dict.fromkeys((*columns, *request.drop), "none")
    if request.is_text:
        roles = request.text.roles
        texts: dict[str, ColumnUse] = {
            column: "none" if role in ("messages", "tools") else "label"
            for column, role in roles.items()
        }
        return ColumnUses(named | texts)
    if request.weight is not None:
        named[request.weight] = "value"
    if request.target is not None:
        named[request.target] = "value" if request.task == "regression" else "label"
    return ColumnUses(named, others="value")


def _roles(request: InitRequest, found: dict[IdKind, IdType]) -> Roles:
    return Roles(found["record"], found.get("subject"), request.identity or Identity.EXACT)
