"""Rows that a request may have missed: those of look-alikes of what it names.

A request that names one spelling of an id does not take the rows of the others, unless
`dataset.identity` is folded. Each search reads the columns of ids once or twice, a batch in memory
at a time.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import RowPlace, place_of_row, read_batches
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.ids import IdKind, IdRules, fold
from unlearn.stages.rows.look_alikes import LookAlikeFinder
from unlearn.stages.rows.roles import RoleReader, fold_column, role_columns
from unlearn.stages.rows.tokens import Tokenizer


@dataclass(frozen=True)
class Spellings:
    """Raw ids that a request names.

    Parameters
    ----------
    records, subjects
        Ids of records, and of people.
    """

    records: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()

    def of(self, kind: IdKind) -> frozenset[str]:
        """Return the ids of records, or of subjects."""
        return self.records if kind == "record" else self.subjects


def rows_like(
    root: Path,
    dataset: DatasetParams,
    tokenizer: Tokenizer,
    spellings: Spellings,
    forget_list: ForgetList,
) -> list[RowPlace] | None:
    """Return the rows of look-alikes of what a request names, if they are not forgotten anyway.

    Parameters
    ----------
    root
        The project's folder.
    dataset, tokenizer
        Where the rows are, and how their ids are read.
    spellings
        The ids of the request.
    forget_list
        The list before the request.

    Returns
    -------
    list of RowPlace or None
        In the order of the files; None if the dataset is not here. Empty where `identity` is
        folded, because look-alikes are one id there.

    Raises
    ------
    InputError
        If the dataset is not readable.
    """
    rules = tokenizer.rules
    folds = {
        kind: pa.array(sorted(set(map(fold, raws))), pa.string())
        for kind, _ in role_columns(dataset)
        if (raws := _ambiguous(rules, kind, spellings.of(kind)))
    }
    if not folds or rules.folded:
        return []
    going = ForgetList(
        digest="",
        tokens=(*forget_list.tokens, *_tokens(tokenizer, spellings)),
        left_out=forget_list.left_out,
    )
    paths = [name for name in (dataset.path, dataset.held_out) if name is not None]
    if not all((root / name).exists() for name in paths):
        return None
    found: list[RowPlace] = []
    for ids in _all_ids(root, dataset):
        alike = np.zeros(ids.batch.num_rows, np.bool_)
        for kind, wanted in folds.items():
            alike |= pc.is_in(fold_column(ids.texts[kind]), wanted).to_numpy()
        indices = np.flatnonzero(alike)
        for index, is_going in zip(indices, ids.mask(indices, tokenizer, going), strict=True):
            if not is_going:
                found.append(ids.place(int(index)))
    return found


def _ambiguous(rules: IdRules, kind: IdKind, ids: Collection[str]) -> list[str]:
    """Return the ids that may have look-alikes: a number among whole numbers has none."""
    if rules.type_of(kind) != "integer":
        return list(ids)
    return [raw for raw in ids if not rules.accepts(kind, raw)]


def _tokens(tokenizer: Tokenizer, spellings: Spellings) -> Iterator[str]:
    kinds: tuple[IdKind, ...] = ("record", "subject")
    for kind in kinds:
        yield from (tokenizer.token(kind, raw) for raw in spellings.of(kind))


@dataclass(frozen=True)
class _Ids:
    """The ids of a batch.

    Parameters
    ----------
    batch
        The rows, as read.
    texts
        Their ids, by what these name.
    """

    batch: pa.Table
    texts: dict[IdKind, pa.ChunkedArray]

    def place(self, index: int) -> RowPlace:
        return place_of_row(self.batch, index, "", 1)

    def tokens(
        self, kind: IdKind, indices: npt.NDArray[np.int64], tokenizer: Tokenizer
    ) -> list[str]:
        raws: Iterable[str | None] = self.texts[kind].take(pa.array(indices)).to_pylist()
        return ["" if raw is None else tokenizer.token(kind, raw) for raw in raws]

    def named(
        self,
        kind: IdKind,
        indices: npt.NDArray[np.int64],
        tokenizer: Tokenizer,
        forget_list: ForgetList,
    ) -> npt.NDArray[np.bool_]:
        """Return for each of these rows whether a line of the list names its id of this kind."""
        tokens = self.tokens(kind, indices, tokenizer)
        found = np.array(forget_list.mask(tokens, None), np.bool_)
        if kind == "record" and "subject" in self.texts:
            pairs = zip(self.tokens("subject", indices, tokenizer), tokens, strict=True)
            lines = [".".join(pair) for pair in pairs]
            found |= np.array(forget_list.mask(lines, None), np.bool_)
        return found

    def mask(
        self, indices: npt.NDArray[np.int64], tokenizer: Tokenizer, forget_list: ForgetList
    ) -> list[bool]:
        """Return for each of these rows whether it is to be forgotten."""
        records = self.tokens("record", indices, tokenizer)
        if "subject" not in self.texts:
            return forget_list.mask(records, None)
        return forget_list.mask(records, self.tokens("subject", indices, tokenizer))


def _all_ids(root: Path, dataset: DatasetParams) -> Iterator[_Ids]:
    """Yield all ids of the dataset, and of the file of held-out rows."""
    columns = role_columns(dataset)
    rules = IdRules.of(dataset.of_any_type())
    readers = [RoleReader(kind, column, rules) for kind, column in columns]
    for name in filter(None, (dataset.path, dataset.held_out)):
        names = [column for _, column in columns]
        for batch in read_batches(root / name, name, names, Reading.of(dataset)):
            yield _Ids(batch, {reader.kind: reader.texts(batch, name, 1) for reader in readers})


@dataclass(frozen=True)
class DatasetLookAlikes:
    """How many rows of the dataset are of look-alikes.

    Parameters
    ----------
    rows
        Rows whose record id or subject id has a look-alike.
    missed
        Those that stay, although a look-alike of theirs is on the forget list.
    """

    rows: int = 0
    missed: int = 0


def count_in_dataset(
    root: Path,
    dataset: DatasetParams,
    tokenizer: Tokenizer,
    forget_list: ForgetList,
    scratch: Path,
) -> DatasetLookAlikes:
    """Count the rows of look-alikes in the dataset.

    Parameters
    ----------
    root, dataset, tokenizer, forget_list
        See `rows_like`; the dataset is here.
    scratch
        An empty folder for intermediate files.

    Raises
    ------
    InputError
        If the dataset is not readable.
    """
    if tokenizer.rules.folded:
        return DatasetLookAlikes()
    kinds = [
        kind for kind, _ in role_columns(dataset) if tokenizer.rules.type_of(kind) != "integer"
    ]
    with ExitStack() as stack:
        finders = {kind: LookAlikeFinder(stack, scratch / kind) for kind in kinds}
        for ids in _all_ids(root, dataset):
            for kind, finder in finders.items():
                finder.see(ids.texts[kind], ids.batch)
        several = {kind: finder.found().folds for kind, finder in finders.items()}
    if not any(map(len, several.values())):
        return DatasetLookAlikes()
    listed = {kind: [several[kind][:0]] for kind in kinds}
    for ids in _all_ids(root, dataset):
        for kind, finder in finders.items():
            folds = finder.digests(fold_column(ids.texts[kind]))
            alike = np.flatnonzero(np.isin(folds, several[kind]))
            named = ids.named(kind, alike, tokenizer, forget_list)
            listed[kind].append(np.unique(folds[alike[named]]))
    gone = {kind: np.unique(np.concatenate(listed[kind])) for kind in kinds}
    rows = missed = 0
    for ids in _all_ids(root, dataset):
        digests = {kind: finders[kind].digests(fold_column(ids.texts[kind])) for kind in kinds}
        rows += int(_any(np.isin(digests[kind], several[kind]) for kind in kinds).sum())
        indices = np.flatnonzero(_any(np.isin(digests[kind], gone[kind]) for kind in kinds))
        missed += len(indices) - sum(ids.mask(indices, tokenizer, forget_list))
    return DatasetLookAlikes(rows, missed)


def _any(masks: Iterable[npt.NDArray[np.bool_]]) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = np.logical_or.reduce(list(masks))
    return found
