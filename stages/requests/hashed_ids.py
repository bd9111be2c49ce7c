"""Finding the ids of a dataset whose hashes a request names."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.ids import IdRules
from unlearn.stages.rows.roles import RoleReader, role_columns
from unlearn.stages.rows.tokens import Kind

#: Hash functions by name, with the number of their hexadecimal digits (OpenDSR, section 5.2).
FORMATS = {"sha256": 64, "sha1": 40, "md5": 32}


@dataclass(frozen=True)
class HashedId:
    """An id that is known by its hash.

    Parameters
    ----------
    kind
        What the id names.
    form
        The hash function, a key of `FORMATS`.
    digest
        The hash, in lower-case hexadecimal.
    where
        Where it was read, for messages.
    """

    kind: Kind
    form: str
    digest: str = field(repr=False)
    where: str


def find_hashed(context: Context, wanted: Iterable[HashedId]) -> dict[str, list[str]]:
    """Return the ids of the dataset that have these hashes.

    The hash is that of the id in UTF-8, as a file of the dataset has it and, where ids are folded,
    as `dataset.identity: folded` compares them.

    Parameters
    ----------
    context
        The project.
    wanted
        The hashes.

    Returns
    -------
    dict
        The ids by `HashedId.where`, without hashes that no row has. Ids that one hash stands for
        are spellings of one id.

    Raises
    ------
    InputError
        If the dataset is not here, so that nothing can be hashed.
    """
    places: dict[tuple[Kind, str, str], list[str]] = {}
    for item in wanted:
        places.setdefault((item.kind, item.form, item.digest), []).append(item.where)
    if not places:
        return {}
    dataset = context.params.dataset
    path = context.project.root / dataset.path
    if not path.exists():
        raise InputError(
            f"{dataset.path} is not here, so that hashed ids cannot be looked up",
            "`dvc pull` or `dvc checkout` brings it back",
        )
    found: dict[str, list[str]] = {}
    for kind, raw, canonical in _ids(context):
        for form in {form for of, form, _ in places if of == kind}:
            for text in {raw, canonical}:
                digest = hashlib.new(form, text.encode(), usedforsecurity=False).hexdigest()
                for where in places.get((kind, form, digest), ()):
                    known = found.setdefault(where, [])
                    known += [] if raw in known else [raw]
    return found


def _ids(context: Context) -> Iterator[tuple[Kind, str, str]]:
    """Yield all ids of the dataset: what each names, as it is written, and as it is compared."""
    dataset = context.params.dataset
    rules, roles = IdRules.of(dataset), role_columns(dataset)
    path, columns = context.project.root / dataset.path, [column for _, column in roles]
    row = 1
    for batch in read_batches(path, dataset.path, columns, Reading.of(dataset)):
        for kind, column in roles:
            ids = RoleReader(kind, column, rules).checked(batch, dataset.path, row)
            for raw, canonical in zip(ids, rules.canonicals(kind, ids), strict=True):
                yield kind, raw, canonical
        row += batch.num_rows
