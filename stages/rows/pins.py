"""How a project from before `dataset.id_type` can state what its ids are."""

from pathlib import Path

from unlearn.stages.config.dataset import DatasetParams, IdType
from unlearn.stages.errors import InputError
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.identity import dataset_tokens
from unlearn.stages.rows.ids import IdKind, IdRules
from unlearn.stages.rows.roles import IdTypeFinder, role_columns
from unlearn.stages.rows.tokens import DEMO_KEY, Key, Tokenizer


def find_types(root: Path, dataset: DatasetParams) -> dict[IdKind, IdType] | None:
    """Return the types of a project's ids that leave every row its token.

    Reads all rows up to four times.

    Parameters
    ----------
    root, dataset
        The project's folder, and its dataset without these settings.

    Returns
    -------
    dict or None
        The types, of ids of records and of people; None if any would change a token, and so lose
        lines of the forget list: the project then stays without them.

    Raises
    ------
    InputError
        If the dataset is not here, or not readable as it is.
    """
    kinds = [kind for kind, _ in role_columns(dataset)]
    try:
        found = {kind: _type(root, dataset, kind) for kind in kinds}
    except InputError:
        found = {}  # a type that only projects without these settings can read
    as_text: dict[IdKind, IdType] = dict.fromkeys(kinds, "text")
    for types in filter(None, (found, as_text)):
        named = {"id_type": types["record"], "subject_type": types.get("subject")}
        if _keeps_tokens(root, dataset, dataset.model_copy(update=named)):
            return types
    return None


def _paths(dataset: DatasetParams) -> list[str]:
    return [name for name in (dataset.path, dataset.held_out) if name is not None]


def _type(root: Path, dataset: DatasetParams, kind: IdKind) -> IdType:
    column = dict(role_columns(dataset))[kind]
    finder = IdTypeFinder(kind, column, folded=False)
    for name in _paths(dataset):
        for batch in read_batches(root / name, name, [column], Reading.of(dataset)):
            finder.see(batch, name)
    return finder.id_type


def _keeps_tokens(root: Path, before: DatasetParams, after: DatasetParams) -> bool:
    key = Key(DEMO_KEY)  # any key: tokens are only compared
    for name in _paths(before):
        old = dataset_tokens(
            root / name,
            before.model_copy(update={"path": name}),
            Tokenizer(key, IdRules.of(before)),
        )
        new = dataset_tokens(
            root / name, after.model_copy(update={"path": name}), Tokenizer(key, IdRules.of(after))
        )
        for one in old:
            try:
                if next(new) != one:
                    return False
            except InputError:
                return False  # an id that the new settings refuse
    return True
